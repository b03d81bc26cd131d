# SPDX-License-Identifier: GPL-2.0-or-later
"""Bad options and configurations: one line says what is wrong, exit 2, and nothing was started."""

import os
import subprocess
import tempfile
import unittest

from lab import BINARY, Lab

BAD_OPTIONS = [
    ["--bogus"],
    ["argument"],
    ["-c", "10.0.0.1:99999"],
    ["-c", ""],
    ["--max-datagram", "100"],
    ["--max-delay", "-1"],
    ["--max-rate", "12x"],
    ["--queue", "0"],
    ["--source-address", "nowhere"],
    ["--mark", "0x1ffffffff"],
    ["--fields", "mark,colour"],
    ["--rcvbuf", "1e3"],
    ["-f", "/nonexistent"],
    ["-f", "/"],
    ["-f", "/dev/null"],
]

BAD_CONFIGURATIONS = [
    ('{\n"colector": "10.0.0.1"}', 2),
    ('{"queue": 10,\n\n"max-datagram": "large"}', 3),
    ('{"queue": -1}', 1),
    ('{"print": true,\n', 2),
]


SAID = {"--help": "--collector", "--version": "ctflow9 ", "--check": '"max-datagram": 1400'}


def start(*words):
    return subprocess.run([BINARY, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=10)


class Options(unittest.TestCase):
    def refused(self, result):
        self.assertEqual(result.returncode, 2)
        self.assertEqual(result.stdout, "")
        self.assertRegex(result.stderr, r"\Actflow9: [^\n]+\n\Z")

    def test_bad_options(self):
        for words in BAD_OPTIONS:
            with self.subTest(words=words):
                self.refused(start(*words))

    def test_bad_configuration(self):
        for text, line in BAD_CONFIGURATIONS:
            with self.subTest(text=text), tempfile.TemporaryDirectory() as directory:
                path = os.path.join(directory, "ctflow9.json")
                with open(path, "w") as file:
                    file.write(text)
                result = start("-f", path)
                self.refused(result)
                self.assertIn(f"{path}:{line}:", result.stderr)

    def test_two_interfaces(self):
        """Each option is right by itself, and no socket could be made that has both."""
        refused = (("fe80::2%client", "fe80::1%server"), ("ff02::2%client", "fe80::1%server"), ("::1", "fe80::1%server"))
        taken = (("fe80::2%server", "fe80::1%server"), ("ff05::2%client", "fe80::1%server"),
                 ("fd03::2", "fe80::1%server"), ("fe80::2%client", "::1"), ("fe80::2%client", "fe80::1%later"))
        with Lab() as lab, lab.router:
            for collector, source in refused:
                with self.subTest(collector=collector, source=source):
                    result = start("--check", "-c", collector, "--source-address", source)
                    self.refused(result)
                    self.assertIn(f"cannot be reached from --source-address {source}", result.stderr)
            for collector, source in taken:
                with self.subTest(collector=collector, source=source):
                    result = start("--check", "-c", collector, "--source-address", source)
                    self.assertEqual(result.returncode, 0, result.stderr)

    def test_configuration_from_a_pipe(self):
        result = subprocess.run(["bash", "-c", '"$0" --check -f <(sleep 0.2; echo "{ \\"queue\\": 7 }")', BINARY],
                                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn('"queue": 7', result.stdout)

    def test_no_standard_output(self):
        """--check cannot do what it does, and says so."""
        for redirection in ">&-", ">/dev/full":
            with self.subTest(redirection=redirection):
                self.refused(subprocess.run(["sh", "-c", f'exec "$0" --check {redirection}', BINARY],
                                            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10))

    def test_configuration_that_everybody_may_write(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "ctflow9.json")
            with open(path, "w") as file:
                file.write("{}")
            os.chmod(path, 0o666)
            result = start("--check", "-f", path)
        self.assertEqual(result.returncode, 0)
        self.assertRegex(result.stderr, r"\Actflow9: warning: [^\n]+/ctflow9.json: everybody may write[^\n]+\n\Z")

    def test_help_and_version(self):
        for option, said in SAID.items():
            with self.subTest(option=option):
                result = start(option)
                self.assertEqual((result.returncode, result.stderr), (0, ""))
                self.assertIn(said, result.stdout)


if __name__ == "__main__":
    unittest.main()
