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

# As flag.py, for guests that have perl. Modules may be missing where it is.

($flag, @filesystems) = @ARGV;
($key, $ro, $empty) = ("$flag\0", "ro\0", "\0");
$failed = 0;
while (($id, $path) = splice(@filesystems, 0, 2)) {
    $ok = 0;
    $of = $path =~ m{^(/proc/\d+)/root} ? $1 : "/proc/self";
    if (sysopen(D, $path, 010000000)
            && open(I, "/proc/self/fdinfo/" . fileno(D))
            && open(M, "$of/mountinfo")) {
        ($got) = map { /^mnt_id:\s*(\d+)/ ? $1 : () } <I>;
        ($is) = map { /^$id .* - \S+ \S+ (ro|rw)/ ? $1 : () } <M>;
        if ($got == $id && $is
                && ($f = syscall(433, fileno(D), $empty, 9)) >= 0) {
            $ok = syscall(431, $f, 0, $key, 0, 0) == 0
                && ($is eq "rw" || syscall(431, $f, 0, $ro, 0, 0) == 0)
                && syscall(431, $f, 7, 0, 0, 0) == 0;
            print "frozen\n" if !$ok && $! == 16;
        } elsif ($! == 38) { exit 38 }
    }
    $failed = 1 unless $ok;
}
exit $failed;
