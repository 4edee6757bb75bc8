"""The Allure report of a run, made by the npm package `allure` of the project's own node_modules."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from lab import paths
from lab.errors import ConfigError
from lab.progress import Progress, silent
from lab.report.categories import categories
from lab.report.rundir import RunFolder, write_whole

_ALLURE_S = 300.0
_GROUP_BY = ("release", "server", "suite")
# allure 3.18 writes both scripts into every page, with no option against it (plugin-awesome, generators.js)
_ANALYTICS = re.compile(
    r"<script[^>]*googletagmanager[^>]*></script>\s*<script>(?:(?!</script>)[\s\S])*?gtag\([\s\S]*?</script>"
)
_POLICY = "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'"


def allure_site(run: RunFolder, folder: Path, progress: Progress = silent) -> Path | None:
    """Generate the Allure report of a run into `folder`; its page, or None where the run has no test results.

    The report is one file, because a browser lets no page fetch its data from file://. It asks nobody for
    anything: the generator's call to a web analytics service is cut out, and the page's own policy forbids
    every other one, so that opening a report tells no one about a lab's servers.

    Raises:
        ConfigError: the generator is not installed, or refuses the results.
    """
    shutil.rmtree(folder, ignore_errors=True)
    if not any(run.allure_results.glob("*-result.json")):
        progress("no test results, so no Allure report")
        return None
    progress("generating the Allure report")
    name = f"Hypervisor lab {run.id}"
    history = run.path.parent / "history.jsonl"
    _forget(history, name)
    with tempfile.TemporaryDirectory(prefix="lab-report-") as scratch:
        config = Path(scratch) / "allurerc.json"
        config.write_text(
            json.dumps(
                {
                    "name": name,
                    "output": str(folder),
                    "historyPath": str(history),
                    "categories": {"rules": categories()},
                }
            )
        )
        _generate(
            [
                *_generator(),
                *("awesome", str(run.allure_results), "--config", str(config)),
                *("--single-file", "--report-language", "en", "--group-by", ",".join(_GROUP_BY)),
            ],
            Path(scratch),
        )
    page = folder / "index.html"
    write_whole(page, keep_to_itself(page.read_text(encoding="utf-8")))
    return page


def keep_to_itself(html: str) -> str:
    """An Allure page without its analytics, and with a policy that lets it load nothing from elsewhere."""
    html = _ANALYTICS.sub("", html)
    return html.replace(
        "<head>", f'<head>\n<meta http-equiv="Content-Security-Policy" content="{_POLICY}">', 1
    )


def _generator() -> list[str]:
    """Node and the generator's entry point, both from the project's own environment."""
    script = paths.project() / "node_modules" / "allure" / "cli.js"
    beside = Path(sys.executable).parent / "node"
    node = str(beside) if beside.exists() else shutil.which("node")
    for what, there in (("the Allure generator", script.is_file()), ("Node", node is not None)):
        if not there:
            raise ConfigError(
                f"{what} is not installed in {paths.project()}", next_step="run `make setup`, then try again"
            )
    return [str(node), str(script)]


def _generate(command: list[str], scratch: Path) -> None:
    quiet = os.environ | {"NO_COLOR": "1"}
    try:
        done = subprocess.run(
            command, cwd=scratch, env=quiet, capture_output=True, text=True, timeout=_ALLURE_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(
            f"the Allure generator did not end within {_ALLURE_S:.0f} s",
            tried=" ".join(command),
            next_step="look for very large attachments in allure-results/",
        ) from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()[-800:]
        raise ConfigError(
            f"the Allure generator ended with {done.returncode}: {said}",
            tried=" ".join(command),
            next_step="run the command above by hand; `npm ci` repairs a damaged node_modules",
        )


def _forget(history: Path, name: str) -> None:
    """Drop what an earlier build of the same run put into the history: a run counts once."""
    if not history.is_file():
        return
    lines = [line for line in history.read_text(encoding="utf-8").splitlines() if line.strip()]
    kept = [line for line in lines if json.loads(line).get("name") != name]
    if kept != lines:
        write_whole(history, "".join(f"{line}\n" for line in kept))
