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

"""``cinder-wt-backup``: what an operator does by hand, on a backup host."""

from __future__ import annotations

from collections.abc import Sequence
import importlib
from importlib import metadata
import logging
import sys

from cinder.common import config  # noqa: F401  registers Cinder's options
from cinder import coordination
from cinder import objects
from cliff import app
from cliff import command
from cliff import commandmanager
from oslo_config import cfg

from cinder_wt_backup.checks import user as users
from cinder_wt_backup import conf
from cinder_wt_backup import exceptions
from cinder_wt_backup import plain

CONF = cfg.CONF


class _OneLine(logging.Formatter):
    """Of what is said, the first line: SQLAlchemy's go on with the query."""

    def format(self, record: logging.LogRecord) -> str:
        if record.exc_info:
            return super().format(record)       # --debug asks for it
        return plain.text((super().format(record).splitlines() or [''])[0],
                          plain.MAX_TEXT)


class Shell(app.App):  # type: ignore[misc]
    """The commands' common part: Cinder's configuration."""

    def __init__(self) -> None:
        self._has_begun = False
        super().__init__(
            description='Looks after cinder-wt-backup: run it where '
                        'cinder-backup runs, as its user.',
            version=metadata.version('cinder-wt-backup'),
            deferred_help=True,
            command_manager=commandmanager.CommandManager(
                'cinder_wt_backup.commands'))

    def build_option_parser(self, *args: object, **kwargs: object) -> object:
        """Add where Cinder's options are."""
        parser = super().build_option_parser(*args, **kwargs)
        parser.add_argument(
            '--config-file', action='append', metavar='PATH',
            help='a file with Cinder\'s options, as cinder-backup has them; '
                 'may be given several times (default: where Cinder looks, '
                 '/etc/cinder/cinder.conf)')
        return parser

    def configure_logging(self) -> None:
        """Say on stderr what -v asks for, by default warnings."""
        levels = (logging.ERROR, logging.WARNING, logging.INFO,
                  logging.DEBUG)
        logging.basicConfig(level=levels[min(self.options.verbose_level, 3)],
                            force=True)
        for handler in logging.getLogger().handlers:
            handler.setFormatter(_OneLine('%(levelname)s %(message)s'))

    def initialize_app(self, argv: Sequence[str]) -> None:
        """Read Cinder's options."""
        if not argv or argv[0] in ('help', 'complete'):
            return
        CONF([], project='cinder',
             default_config_files=self.options.config_file)
        conf.register(CONF)
        objects.register_all()
        # Who waits before a terminal would rather be told.
        for name, value in (('max_retries', 1), ('retry_interval', 1)):
            CONF.set_override(name, value, group='database')

    def prepare_to_run_command(self, cmd: command.Command) -> None:
        """Have locks for a command that opens or closes windows.

        :raises ConfigurationError: its locks would be in the service's way
        """
        self._has_begun = True
        if getattr(cmd, 'needs_locks', False):
            user = users.other_user()
            if user:
                raise exceptions.ConfigurationError(
                    f'run this as {user}, as cinder-backup does: files of '
                    f'root would keep that from locking')
            coordination.COORDINATOR.start()

    def clean_up(self, cmd: command.Command, result: int,
                 err: BaseException | None) -> None:
        """Let go of the locks."""
        if getattr(cmd, 'needs_locks', False):
            coordination.COORDINATOR.stop()

    def run(self, argv: Sequence[str]) -> int:
        """Run a command; return 2 where it could not even begin."""
        result = int(super().run(argv))
        return 2 if result and not self._has_begun else result

    def interact(self) -> int:
        """Show what there is, where no command is given."""
        return int(super().run_subcommand(['help']))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    try:
        # Before cliff looks for commands: it would go on without those that
        # cannot be imported.
        importlib.import_module('cinder_wt_backup.guest.hypervisor')
    except exceptions.ConfigurationError as error:
        print(error, file=sys.stderr)
        return 2
    words = list(sys.argv[1:] if argv is None else argv)
    return int(Shell().run(words or ['help']))
