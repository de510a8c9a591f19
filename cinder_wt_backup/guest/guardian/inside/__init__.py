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

"""The program that runs in the guest: readable here, one text there.

``assemble.py`` puts the parts together, with ``boot.sh`` in front of them,
which chooses the interpreter. Every part is ordinary Python of version 3.6 or
newer, with the standard library only.

Who is who:

- *start* is what the agent runs. It checks, takes the lock, leaves the
  supervisor behind, waits for its report, prints it and ends.
- The *supervisor* holds the lock (``flock`` of a file in ``/run``), the
  lease, the journal and a socket for the short calls. It never touches
  storage.
- A *worker* for each superblock does what may hang. It is forked before the
  first change and shares the lock by inheriting it: a new start gets the
  lock only when the last one is gone.
- A *looker* reads mounts, of this and of other namespaces; it may hang or be
  slow, and is then given up.
- *release* and *thawed* are what the agent runs later: they talk to the
  supervisor by its socket. When there is none, they undo what the journal
  says by themselves.

What makes it safe:

- A superblock is told by the inode of its folder in sysfs (``identity.py``),
  and every act goes through a descriptor whose mount id and mountinfo row
  were compared (``paths.py``). None is held between two acts.
- The journal is written, read back and compared before the first change, and
  has all that undoing takes. It goes when everything on it was seen undone.
- A worker that loses its supervisor undoes; a supervisor that loses a worker
  undoes everything; SIGTERM and the end of the lease do. After all were
  killed, the next start or release does.
- "Undone" is said of what was looked at afterwards: the flag is not among the
  options, or the superblock is another one, or it is gone from sysfs. A
  superblock that lives but cannot be reached is stuck, and tried again.

The order of a start: arguments; lock; left-overs; memory locked; look;
workers prepare (open, compare, identity, options); journal; thresholds
lowered and drain; inner file systems before outer ones: flag, see, flush;
then a pulse, which is on record while it may be frozen; look again; report.

How it is called: ``sh -c BOOT guardian COMMAND REQUEST`` with the program on
standard input; ``BOOT`` and the program are ``assemble.boot()`` and
``assemble.program()``, the request is one JSON object whose fields are in
``protocol.COMMANDS``. It prints one JSON object and ends with its ``status``.

Parts, from below: protocol, syscalls, mounts, paths, options, identity, flag,
blocks, users, journal, drain, ways (to a superblock), work (acts on it), undo,
pulse, journals (those of file systems), look, channel, worker, team (workers
as their supervisor sees them), apart (what may hang and changes nothing),
reports, listener, supervisor, window (the order of things), behind (the
supervisor's process), client (short-lived commands), main.

A type without a folder in sysfs gets no flag, but FAT: nothing would tell it
from its successor.
"""
