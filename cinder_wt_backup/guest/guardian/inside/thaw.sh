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

# The lease of a freeze where there is no Python: thaws what nobody thawed.
# "$1" is the window's token, "$2" the seconds until then, the others are the
# devices' names. A release removes the file: so ours only is ended.
f=/run/cinder-wt-backup.$1 s=$2
shift 2
cd / && umask 077 && command -v fsfreeze && : >"$f" || exit 1
(sleep "$s"
while read -r _ _ number _ point _; do
    for name; do
        [ "$number" = "$(cat "/sys/class/block/$name/dev")" ] && [ -e "$f" ] &&
            fsfreeze -u "$(printf '%b' "$point")"
    done
done </proc/self/mountinfo
rm -f "$f") </dev/null >/dev/null 2>&1 &
