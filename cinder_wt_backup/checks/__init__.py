# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Whether backups can be consistent here, as rows that an operator reads.

Each module checks one part of the way from cinder.conf to a guest. Nothing is
changed, in no guest and in no database; what a check needs and cannot have is
a row too, so that no error ends the others.
"""

from cinder import objects

# Before cinder.backup.manager is imported, which has them in its decorators.
objects.register_all()
