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

import os

import setuptools

# Of whatever is installed from this tree. pbr would ask git for a tag, and
# neither a clone without tags nor an archive without git has one.
os.environ.setdefault('PBR_VERSION', '1.0.0')

setuptools.setup(setup_requires=['pbr>=6.0.0'], pbr=True)
