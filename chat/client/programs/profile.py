"""C{chat profile}: accounts and servers by a name of one's own."""

from __future__ import annotations

import os
from argparse import BooleanOptionalAction

from chat.client import options as given
from chat.client.options import ADDRESSES, Parser
from chat.client.places import Homeless
from chat.client.profiles import DEFAULT, KEYS, ProfileError, Profiles
from chat.client.running import usual_reactor
from chat.wire import Codec

_DESCRIPTION = """\
Writes down a server, and how you log in there, under a name: "chat
--profile NAME" takes all of it from there, and the environment variable
CHAT_PROFILE names a profile, too. The one called "default" is taken when
none is named. Without a name, lists the profiles.
"""

_MORE = """\
examples:
  chat profile work chat.example.org:5311 --user alice --stay --bell
  chat --profile work
  chat profile

the file:
  It is ~/.config/chat/profiles.ini (or below XDG_CONFIG_HOME; APPDATA on
  Windows), with a section for each profile; edit it as you like. Its keys
  are the options by their names: server, user, password-file, codec, trust,
  accept-new, plaintext, plain, color, bell, stay, history, outbox. A
  password is never in it. What is given on the command line goes before;
  where that, or an invitation, names another server, password-file, trust,
  accept-new and plaintext are not taken from the profile.

what is kept:
  Each profile has its own outbox, history and tokens, which only you can
  read, in ~/.local/state/chat/profiles/NAME (or below XDG_STATE_HOME;
  LOCALAPPDATA on Windows).
"""


def parser() -> Parser:
    """What can be given on the command line."""
    parser = given.parser("chat profile", _DESCRIPTION, _MORE, ADDRESSES)
    parser.add_argument("name", nargs="?", metavar="NAME", help="what to call it")
    given.add_server(parser, "server", nargs="?")
    given.add_user(parser, "log in under this name")
    given.add_codec(parser)
    given.add_trust(parser)
    parser.add_argument("--stay", action=BooleanOptionalAction, help="stay logged in")
    parser.add_argument("--bell", action=BooleanOptionalAction, help="ring when a message comes")
    return parser


def run(arguments: list[str]) -> int:
    """List or add; the exit status."""
    from chat.client.errors import Distrust

    taken = parser()
    options = taken.parse_args(arguments)
    try:
        profiles = Profiles()
        if options.name is None:
            return _list(profiles)
        if options.server is None and options.user is None:
            taken.error(f"which server is {options.name!r} to be? chat profile {options.name} HOST:PORT")
        if options.server is not None:
            address = given.address(taken, options.server, Codec(options.codec))
            given.way_to(taken, usual_reactor(), options, address)
        if options.password_file is not None:  # it is the same one from wherever it is used
            options.password_file = os.path.abspath(options.password_file)
        default = {"codec": "json"}
        named = {key: getattr(options, key.replace("-", "_"), None) for key in KEYS}
        profiles.add(
            options.name,
            {key: value for key, value in named.items() if value not in (None, False, default.get(key))},
        )
    except (ProfileError, Homeless, Distrust) as error:
        taken.error(str(error))
    print(f"Written to {profiles.path}. Now: chat{_option(options.name)}")
    return 0


def _list(profiles: Profiles) -> int:
    for name in profiles:
        settings = profiles.settings(name)
        server, user = settings.get("server", "the usual server"), settings.get("user", "whoever logs in")
        print(f"{name}: {user} at {server}")
    if not list(profiles):
        print(f"There is no profile yet; {profiles.path} is where they would be.")
    return 0


def _option(name: str) -> str:
    return "" if name == DEFAULT else f" --profile {name}"
