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

"""How the documentation is built: see the docs environment of tox.ini."""

import configparser
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
INSTALLED = tempfile.TemporaryDirectory()


def _install(folder: pathlib.Path) -> None:
    """Write what makes the project look as if it were installed in a folder.

    Options are found by the entry point oslo.config.opts, as
    oslo-config-generator finds them; installing would need Cinder's packages.
    """
    setup = configparser.ConfigParser()
    setup.read(ROOT / 'setup.cfg')
    metadata = folder / 'cinder_wt_backup-0.dist-info'
    metadata.mkdir()
    (metadata / 'METADATA').write_text(
        'Metadata-Version: 2.1\nName: cinder-wt-backup\nVersion: 0\n')
    (metadata / 'entry_points.txt').write_text(''.join(
        f'[{group}]{entries}\n'
        for group, entries in setup['entry_points'].items()))


_install(pathlib.Path(INSTALLED.name))
sys.path[:0] = [str(ROOT), INSTALLED.name]
# An error in it would only be a line of stevedore's, and an empty page.
import cinder_wt_backup.conf  # noqa: E402,F401

project = 'cinder-wt-backup'
copyright = 'cinder-wt-backup developers'
extensions = [
    'myst_parser',
    'openstackdocstheme',
    'oslo_config.sphinxconfiggen',
    'oslo_config.sphinxext',
    'reno.sphinxext',
]
# Of Markdown there are only reports, which pages include.
source_suffix = {'.rst': 'restructuredtext'}

html_theme = 'openstackdocs'
html_theme_options = {'display_toc': True}
openstackdocs_repo_name = 'cinder-wt-backup'
openstackdocs_auto_name = False
# Of a page, its own version would be that of the last tag.
openstackdocs_auto_version = False
version = release = ''

config_generator_config_file = [
    ('../config-generator.conf', 'cinder_wt_backup')]
