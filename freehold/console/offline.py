"""The page that verifies a ledger without any server: one file, to be kept beside the public key.

It is written from what is installed where the auditor is, opens from disk, reads a copy of the ledger's
files and can reach no network: its policy allows its own script and style, by their digests, and nothing
else.
"""

from __future__ import annotations

import base64
import hashlib

from freehold.console import files

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
label { display: block; font-weight: 600; margin-top: 1rem; }
textarea, input { font: 14px/1.4 ui-monospace, monospace; width: 100%; box-sizing: border-box; }
button { font: inherit; margin: 1rem 0; padding: 0.4rem 1.2rem; }
progress { width: 100%; }
.holds::marker { content: "✓ "; color: #18794e; }
.fails { color: #b42318; font-weight: 600; }
.fails::marker { content: "✗ "; }
.verdict { font-weight: 600; }
pre { background: #8882; padding: 1rem; overflow: auto; }
"""
_BODY = """
<h1>Verify a ledger, without its server</h1>
<p>Pick a copy of the ledger's files: the folder <code>control/ledger</code> of an installation, the
folder <code>ledger</code> of an export, or what you fetched from <code>/ledger/</code>. This page hashes
every entry again, compares it with the tiles and the signed checkpoint, and trusts nothing but the key
that you bring.</p>
<form id="verify">
  <label for="key">Public key of the ledger, as you kept it</label>
  <textarea id="key" rows="2" spellcheck="false" required></textarea>
  <label for="folder">The folder</label>
  <input id="folder" type="file" webkitdirectory required>
  <label for="kept">A checkpoint that you kept from earlier (may stay empty)</label>
  <textarea id="kept" rows="5" spellcheck="false"></textarea>
  <label for="entry">An entry or an answer to find (may stay empty)</label>
  <input id="entry" placeholder="ent_… or ans_…" spellcheck="false">
  <button>Verify</button>
</form>
<h2 id="result">What it found</h2>
<progress id="progress" max="1" value="0" hidden aria-label="How far it is"></progress>
<div role="log" aria-live="polite"><ol id="found"><li>Nothing yet.</li></ol></div>
<pre id="body" tabindex="0" aria-label="The entry that was found" hidden></pre>
"""


def page() -> str:
    """The page, whole."""
    script = files.every()["verify.js"].data.decode()
    policy = f"default-src 'none'; script-src {_digest(script)}; style-src {_digest(_STYLE)}"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<title>Verify a ledger</title>\n<style>{_STYLE}</style>\n</head>\n<body>{_BODY}"
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


def _digest(text: str) -> str:
    """How a Content-Security-Policy names an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
