"""No version of a dependency with a known vulnerability is allowed in.

The advisories are those of the GitHub advisory database, up to November 2026, of what the package and
its build need.  What cannot be reached through this program is listed, too: nobody has to work that out.
"""

from __future__ import annotations

import re
from configparser import ConfigParser
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent


class Advisory(NamedTuple):
    """Something that is wrong with the versions before one."""

    package: str
    fixed: str
    cve: str
    ghsa: str
    about: str


ADVISORIES = [
    Advisory(
        "twisted", "22.1", "CVE-2022-21712", "GHSA-92x2-jw7w-xvvx", "web client: secrets follow a redirect"
    ),
    Advisory("twisted", "22.2", "CVE-2022-21716", "GHSA-rv6r-3f5q-9rgx", "SSH: memory without bound"),
    Advisory("twisted", "22.4", "CVE-2022-24801", "GHSA-c2jg-hw38-jrqq", "web: requests smuggled"),
    Advisory(
        "twisted", "22.10", "CVE-2022-39348", "GHSA-vg46-2rrj-3647", "web: HTML injected by a host name"
    ),
    Advisory("twisted", "23.10", "CVE-2023-46137", "GHSA-xc8x-vp79-p3wm", "web: answers out of order"),
    Advisory("twisted", "24.7", "CVE-2024-41671", "GHSA-c8m8-j448-xjx7", "web: answers out of order"),
    Advisory("twisted", "24.7", "CVE-2024-41810", "GHSA-cf56-g6w6-pqq2", "web: HTML injected by a redirect"),
    Advisory("twisted", "26.4", "CVE-2026-42304", "GHSA-grgv-6hw6-v9g4", "DNS: names that take for ever"),
    Advisory(
        "pyasn1", "0.6.2", "CVE-2026-23490", "GHSA-63vm-454h-vhhq", "RELATIVE-OID: memory without bound"
    ),
    Advisory("pyasn1", "0.6.3", "CVE-2026-30922", "GHSA-jr27-m4p2-rc6r", "recursion without bound"),
    Advisory("pyasn1", "0.6.4", "CVE-2026-59884", "GHSA-m4p7-r5rc-7g4j", "long tags: time without bound"),
    Advisory("pyasn1", "0.6.4", "CVE-2026-59885", "GHSA-8ppf-4f7h-5ppj", "OBJECT IDENTIFIER: quadratic time"),
    Advisory(
        "pyasn1", "0.6.4", "CVE-2026-59886", "GHSA-hm4w-wwcw-mr6r", "REAL: time and memory without bound"
    ),
    Advisory("cryptography", "46.0.5", "CVE-2026-26007", "GHSA-r6ph-v2qm-q3c2", "keys on binary curves"),
    Advisory(
        "cryptography", "46.0.6", "CVE-2026-34073", "GHSA-m959-cc7f-wv43", "name constraints and wildcards"
    ),
    Advisory(
        "cryptography", "46.0.7", "CVE-2026-39892", "GHSA-p423-j2cm-9vmq", "buffers that are not contiguous"
    ),
    Advisory("cryptography", "48.0.1", "CVE-2026-34180", "GHSA-537c-gmf6-5ccf", "the OpenSSL in its wheels"),
    Advisory("cryptography", "49", "CVE-2026-69248", "GHSA-m2h6-j472-rp4c", "wildcards escape constraints"),
    Advisory("cryptography", "49", "CVE-2026-69249", "GHSA-jwv3-5hgf-82ww", "chains that take for ever"),
    Advisory(
        "cryptography", "50", "CVE-2026-69247", "GHSA-g6cj-pr64-35w5", "PKCS #7: an oracle for decryption"
    ),
    Advisory(
        "pyopenssl", "26", "CVE-2026-27448", "GHSA-vp96-hxj8-p424", "errors in a callback pass for consent"
    ),
    Advisory("pyopenssl", "26", "CVE-2026-27459", "GHSA-5pwr-322w-8jr4", "DTLS: cookies overflow a buffer"),
    Advisory("filelock", "3.20.1", "CVE-2025-68146", "GHSA-w853-jp5j-5j7f", "a lock file that is a link"),
    Advisory("filelock", "3.20.3", "CVE-2026-22701", "GHSA-qmgc-5h2g-mvrw", "a lock file that is a link"),
    Advisory("setuptools", "78.1.1", "CVE-2025-47273", "GHSA-5rjg-fvgr-3xxf", "downloads write anywhere"),
]


def least() -> dict[str, list[Version]]:
    """Of each package that is required anywhere, the least versions that are named."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["options"]["install_requires"].splitlines()
    for extra in setup["options.extras_require"].values():
        lines += extra.splitlines()
    build = re.search(r"^requires = \[(.*)\]$", (ROOT / "pyproject.toml").read_text("utf-8"), re.M)
    assert build is not None
    lines += re.findall(r'"(.*?)"', build[1])
    found: dict[str, list[Version]] = {}
    for line in lines:
        if not line.partition("#")[0].strip():
            continue
        required = Requirement(line)
        for limit in required.specifier:
            if limit.operator == ">=":
                found.setdefault(canonicalize_name(required.name), []).append(Version(limit.version))
    return found


class AdvisoriesTests(SynchronousTestCase):
    """What setup.cfg requires, against the advisories."""

    def test_minimums(self) -> None:
        """Wherever a package is required, it is so in a version that carries every fix."""
        named = least()
        for advisory in ADVISORIES:
            self.assertIn(advisory.package, named)
            for limit in named[advisory.package]:
                self.assertGreaterEqual(limit, Version(advisory.fixed), advisory)

    def test_everyRequirementHasOne(self) -> None:
        """What is needed at run time has a least version: it can be told what it was tried with."""
        setup = ConfigParser()
        setup.read(ROOT / "setup.cfg")
        for line in setup["options"]["install_requires"].split("\n")[1:]:
            self.assertIn(">=", [limit.operator for limit in Requirement(line).specifier], line)

    def test_installed(self) -> None:
        """The tests themselves run with versions that carry every fix."""
        for advisory in ADVISORIES:
            self.assertGreaterEqual(Version(version(advisory.package)), Version(advisory.fixed), advisory)

    def test_table(self) -> None:
        """Each advisory is there once, with numbers of the right form."""
        for advisory in ADVISORIES:
            self.assertRegex(advisory.cve, r"^CVE-20\d\d-\d{4,6}$")
            self.assertRegex(advisory.ghsa, r"^GHSA(-[23456789cfghjmpqrvwx]{4}){3}$")
        for numbers in ([each.cve for each in ADVISORIES], [each.ghsa for each in ADVISORIES]):
            self.assertEqual(len(numbers), len(set(numbers)))
