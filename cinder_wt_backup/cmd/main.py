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
from importlib import metadata
import logging
import sys

from cinder.common import config  # noqa: F401  registers Cinder's options
from cinder import coordination
from cinder import objects
from cliff import app
from cliff import commandmanager
from oslo_config import cfg

from cinder_wt_backup import conf

CONF = cfg.CONF
# Commands that open or close windows.
NEED_LOCKS = ('benchmark', 'release')


class Shell(app.App):  # type: ignore[misc]
    """The commands' common part: Cinder's configuration."""

    def __init__(self) -> None:
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
                            format='%(levelname)s %(message)s', force=True)

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

    def run_subcommand(self, argv: Sequence[str]) -> int:
        """Run a command; cliff says what went wrong."""
        if argv[0] not in NEED_LOCKS:
            return int(super().run_subcommand(argv))
        coordination.COORDINATOR.start()
        try:
            return int(super().run_subcommand(argv))
        finally:
            coordination.COORDINATOR.stop()

    def interact(self) -> int:
        """Show what there is, where no command is given."""
        return int(super().run_subcommand(['help']))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    return int(Shell().run(words or ['help']))
