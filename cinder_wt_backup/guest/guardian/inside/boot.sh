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

# Chooses the interpreter, which must have ctypes; the program comes on
# standard input, "$1" is the command, "$2" its request. An interpreter that
# fails before it has read it ends with 1, and so does a systemd-run that
# fails: that status means "not started". Nothing of ours ends with it.
cd / && umask 077 || exit 1
load='import ctypes, sys
exec(compile(sys.stdin.buffer.read(), "guardian", "exec"))'
none=10 scope=
if [ "$1" = start ] && [ -d /run/systemd/system ]; then
    command -v systemd-run >/dev/null || exit 1
    scope="systemd-run --scope --quiet --unit=cinder-wt-backup-$$"
fi
for python in python3 /usr/libexec/platform-python; do
    command -v "$python" >/dev/null || continue
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C \
        ${scope:+$scope-${python##*/}} "$python" -I -S -B -c "$load" "$@"
    status=$?
    [ $status = 1 ] || exit $status
    [ -z "$scope" ] || none=1
done
[ "$1" = start ] || [ -e /run/cinder-wt-backup/journal ] || exit 3
[ "$1" != start ] || sync || exit 1
exit $none
