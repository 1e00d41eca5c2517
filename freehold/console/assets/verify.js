// Verifies the ledger with WebCrypto alone: C2SP checkpoint and tlog-tiles, RFC 6962 hashes, Ed25519.
// What the server says is only ever compared with what was computed from the key on the page. The page of
// `freehold verify --page` is this script without any server: it reads a folder that somebody picked.
"use strict";

const HASH = 32, WIDTH = 256, MEMORY = "freehold-ledger";
const $ = (id) => document.getElementById(id);
const text = (bytes) => new TextDecoder().decode(bytes);
const utf8 = (string) => new TextEncoder().encode(string);

class Wrong extends Error {}

// -- bytes ---------------------------------------------------------------------------------------

function base64(coded) {
  let raw;
  try { raw = Uint8Array.from(atob(coded), (c) => c.charCodeAt(0)); } catch { throw new Wrong("text that is not base64"); }
  if (btoa(String.fromCharCode(...raw)) !== coded) throw new Wrong("base64 that is spelled otherwise");
  return raw;
}

function joined(...parts) {
  const all = new Uint8Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) { all.set(part, at); at += part.length; }
  return all;
}

const hex = (bytes) => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
const same = (a, b) => a.length === b.length && a.every((byte, i) => byte === b[i]);
const sha256 = async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
const leafHash = (entry) => sha256(joined(Uint8Array.of(0), entry));
const nodeHash = (left, right) => sha256(joined(Uint8Array.of(1), left, right));

// -- key and checkpoint ----------------------------------------------------------------------------

async function readKey(said) {
  const [name, id, coded, ...rest] = said.trim().split("+");
  const raw = base64([coded, ...rest].join("+"));
  if (raw.length !== 33 || raw[0] !== 1) throw new Wrong("this is no Ed25519 verifier key");
  const hash = (await sha256(joined(utf8(name + "\n"), raw))).slice(0, 4);
  if (hex(hash) !== id) throw new Wrong("the key does not fit its own name");
  const key = await crypto.subtle.importKey("raw", raw.slice(1), { name: "Ed25519" }, false, ["verify"]);
  return { name, hash, key };
}

async function readCheckpoint(note, key) {
  const cut = note.lastIndexOf("\n\n");
  const body = note.slice(0, cut + 1), lines = note.slice(cut + 2).split("\n");
  const ours = lines.find((line) => line.startsWith(`— ${key.name} `));
  if (cut < 0 || !ours) throw new Wrong("the checkpoint has no signature under this name");
  const signature = base64(ours.slice(`— ${key.name} `.length));
  if (!same(signature.slice(0, 4), key.hash)) throw new Wrong("the checkpoint was signed with another key");
  const good = await crypto.subtle.verify("Ed25519", key.key, signature.slice(4), utf8(body));
  if (!good) throw new Wrong("the signature does not fit the checkpoint");
  const [origin, size, root] = body.split("\n");
  if (origin !== key.name || !/^(0|[1-9][0-9]{0,14})$/.test(size)) throw new Wrong("the checkpoint speaks of another log");
  return { size: Number(size), root: base64(root), note };
}

// -- tiles ---------------------------------------------------------------------------------------

function tilePath(number, width) {
  const digits = String(number).padStart(Math.ceil(String(number).length / 3) * 3, "0");
  const groups = digits.match(/.{3}/g);
  const path = [...groups.slice(0, -1).map((group) => "x" + group), groups.at(-1)].join("/");
  return path + (width < WIDTH ? `.p/${width}` : "");
}

/** The files of a folder by their paths, on the page that has no server; else none. */
let folder = null;

async function fetched(path) {
  if (folder) {
    const file = folder.get(path.replace("/ledger/bundle/", "/ledger/tile/entries/"));
    if (!file) throw new Wrong(`${path.slice("/ledger/".length)} is not in the folder`);
    return file;
  }
  const answer = await fetch(path, { redirect: "error", cache: "no-store" });
  if (!answer.ok) throw new Wrong(`${path} is not there (${answer.status})`);
  return answer;
}

const bytesOf = async (path) => new Uint8Array(await (await fetched(path)).arrayBuffer());

const split = (data) => Array.from({ length: data.length / HASH }, (_, i) => data.slice(i * HASH, (i + 1) * HASH));

async function treeHash(row) {
  if (row.length === 0) return sha256(new Uint8Array());
  if (row.length === 1) return row[0];
  const middle = 2 ** Math.floor(Math.log2(row.length - 1));
  return nodeHash(await treeHash(row.slice(0, middle)), await treeHash(row.slice(middle)));
}

/** Every tile of every level, each hash computed from the level below; the hashes of all entries. */
async function walk(size, checkEntries, step, seen) {
  let row = [];
  const tiles = Math.ceil(size / WIDTH);
  for (let number = 0; number < tiles; number++) {
    const width = Math.min(WIDTH, size - number * WIDTH);
    const hashes = split(await bytesOf(`/ledger/tile/0/${tilePath(number, width)}`));
    if (hashes.length !== width) throw new Wrong(`the tile of entries from ${number * WIDTH} is cut`);
    if (checkEntries) await compareEntries(number, width, hashes, seen);
    row.push(...hashes);
    step((number + 1) / tiles);
  }
  await compareUpper(row);
  return row;
}

async function compareEntries(number, width, hashes, seen) {
  const data = await bytesOf(`/ledger/bundle/${tilePath(number, width)}`);
  let at = 0, ix = 0;
  while (at < data.length) {
    const end = at + 2 + data[at] * 256 + data[at + 1];
    const hash = await leafHash(data.slice(at + 2, end));
    if (ix >= width || !same(hash, hashes[ix])) throw new Wrong(`entry ${number * WIDTH + ix} is not the one that was signed`);
    seen?.(number * WIDTH + ix, data.slice(at + 2, end));
    at = end; ix++;
  }
  if (ix !== width) throw new Wrong(`entries from ${number * WIDTH} on are missing`);
}

async function compareUpper(row) {
  for (let level = 1; row.length >= WIDTH; level++) {
    const above = [];
    for (let i = 0; i + WIDTH <= row.length; i += WIDTH) above.push(await treeHash(row.slice(i, i + WIDTH)));
    for (let number = 0; number * WIDTH < above.length; number++) {
      const part = above.slice(number * WIDTH, (number + 1) * WIDTH);
      const served = await bytesOf(`/ledger/tile/${level}/${tilePath(number, part.length)}`);
      if (!same(served, joined(...part))) throw new Wrong(`tile ${level}/${number} is not what its entries lead to`);
    }
    row = above;
  }
}

// -- proofs --------------------------------------------------------------------------------------

/** RFC 9162 section 2.1.3.2. */
async function rootFromInclusion(ix, size, leaf, proof) {
  let number = ix, last = size - 1, reached = leaf;
  for (const other of proof) {
    if (last === 0) throw new Wrong("the proof is too long");
    if (number % 2 === 1 || number === last) {
      reached = await nodeHash(other, reached);
      while (number % 2 === 0 && number) { number = number / 2; last = Math.floor(last / 2); }
    } else reached = await nodeHash(reached, other);
    number = Math.floor(number / 2); last = Math.floor(last / 2);
  }
  if (last !== 0) throw new Wrong("the proof is too short");
  return reached;
}

async function findEntry(id, key) {
  const said = await (await fetched(`/ledger/entries/${encodeURIComponent(id)}/receipt`)).text();
  const cut = said.indexOf("\n\n");
  const [head, extra, index, ...hashes] = said.slice(0, cut).split("\n");
  if (head !== "c2sp.org/tlog-proof@v1" || !extra?.startsWith("extra ") || !/^index \d{1,15}$/.test(index)) throw new Wrong("the receipt has not its shape");
  const entry = base64(extra.slice(6)), ix = Number(index.slice(6));
  const signed = await readCheckpoint(said.slice(cut + 2), key);
  if (ix >= signed.size) throw new Wrong("the receipt speaks of a place that was not signed");
  const reached = await rootFromInclusion(ix, signed.size, await leafHash(entry), hashes.map(base64));
  if (!same(reached, signed.root)) throw new Wrong("the receipt leads to another root than the one signed");
  const body = JSON.parse(text(entry));
  if (body.id !== id && body.object !== id) throw new Wrong("the receipt is of another entry");
  return { ix, size: signed.size, body };
}

/** RFC 9162 section 2.1.4.2. */
async function checkConsistency(old, now) {
  if (old.size > now.size) throw new Wrong(`this ledger has ${now.size} entries; it had ${old.size} when this browser last looked`);
  if (old.size === now.size || old.size === 0) {
    if (old.size && !same(old.root, now.root)) throw new Wrong("history was changed since this browser last looked");
    return;
  }
  const steps = (await (await fetched(`/ledger/consistency/${old.size}/${now.size}`)).json()).map(base64);
  if (Number.isInteger(Math.log2(old.size))) steps.unshift(old.root);
  let number = old.size - 1, last = now.size - 1;
  while (number % 2 === 1) { number = Math.floor(number / 2); last = Math.floor(last / 2); }
  let first = steps[0], second = steps[0];
  for (const other of steps.slice(1)) {
    if (last === 0) throw new Wrong("the consistency proof is too long");
    if (number % 2 === 1 || number === last) {
      first = await nodeHash(other, first); second = await nodeHash(other, second);
      while (number % 2 === 0 && number) { number = number / 2; last = Math.floor(last / 2); }
    } else second = await nodeHash(second, other);
    number = Math.floor(number / 2); last = Math.floor(last / 2);
  }
  if (!steps.length || last !== 0 || !same(first, old.root) || !same(second, now.root)) throw new Wrong("history was changed since this browser last looked");
}

// -- the page ------------------------------------------------------------------------------------

const remembered = () => { try { return JSON.parse(localStorage.getItem(MEMORY)) ?? {}; } catch { return {}; } };

function told(words, kind) {
  const line = document.createElement("li");
  line.className = kind;
  line.textContent = words;
  $("found").append(line);
}

async function verify() {
  const key = await readKey($("key").value);
  told(`the key is ${key.name}, ${hex(key.hash)}`, "holds");
  const now = await readCheckpoint(await (await fetched("/ledger/checkpoint")).text(), key);
  told(`the checkpoint is signed with it: ${now.size.toLocaleString("en")} entries`, "holds");
  const before = remembered();
  if (before.key === $("key").value.trim() && before.note) {
    const old = await readCheckpoint(before.note, key);
    await checkConsistency(old, now);
    told(`it continues what this browser saw last: ${old.size.toLocaleString("en")} entries`, "holds");
  }
  const bundles = $("verify").dataset.bundles === "yes";
  const row = await walk(now.size, bundles, (share) => { $("progress").value = share; });
  if (!same(await treeHash(row), now.root)) throw new Wrong("the tiles lead to another root than the one signed");
  told(bundles ? "every entry was hashed again and leads to the signed root" : "every tile leads to the signed root", "holds");
  const wanted = $("entry").value.trim();
  if (wanted) {
    const found = await findEntry(wanted, key);
    told(`${wanted} is entry ${found.ix.toLocaleString("en")} of it, ${found.body.kind}`, "holds");
    $("body").textContent = JSON.stringify(found.body, null, 2);
    $("body").hidden = false;
  }
  localStorage.setItem(MEMORY, JSON.stringify({ key: $("key").value.trim(), note: now.note }));
  told("verified", "verdict holds");
}

async function begin() {
  const before = remembered();
  const served = (await (await fetched("/ledger/key")).text()).trim();
  $("key").value = before.key ?? served;
  $("key-from").textContent = before.key
    ? "This is the key this browser saw first." + (before.key === served ? "" : " The server shows another one now!")
    : "This is the key the server shows. Compare it with one you know.";
  $("entry").value = new URLSearchParams(location.search).get("entry") ?? "";
}

/** On the page without a server: the files that were picked, checked against a key and a kept checkpoint. */
async function verifyFolder() {
  folder = new Map(Array.from($("folder").files, (file) => {
    const path = file.webkitRelativePath.split("/").slice(1).join("/");
    return ["/ledger/" + path.slice(Math.max(0, path.search(/(?:^|\/)(?:tile\/|checkpoint$)/))).replace(/^\//, ""), file];
  }));
  const key = await readKey($("key").value);
  told(`the key is ${key.name}, ${hex(key.hash)}`, "holds");
  const now = await readCheckpoint(await (await fetched("/ledger/checkpoint")).text(), key);
  told(`the checkpoint is signed with it: ${now.size.toLocaleString("en")} entries`, "holds");
  const wanted = $("entry").value.trim(), found = [];
  const row = await walk(now.size, true, (share) => { $("progress").value = share; }, (ix, entry) => {
    if (!wanted || !text(entry).includes(wanted)) return;
    const body = JSON.parse(text(entry));
    if (body.id === wanted || body.object === wanted) found.push({ ix, body });
  });
  if (!same(await treeHash(row), now.root)) throw new Wrong("the tiles lead to another root than the one signed");
  told("every entry was hashed again and leads to the signed root", "holds");
  if ($("kept").value.trim()) {
    const kept = await readCheckpoint($("kept").value.replace(/\r/g, ""), key);
    if (kept.size > now.size) throw new Wrong(`${kept.size} entries were signed once, there are ${now.size}`);
    if (!same(await treeHash(row.slice(0, kept.size)), kept.root)) throw new Wrong("the checkpoint you kept is not its beginning: history was changed");
    told(`the checkpoint you kept is its beginning: ${kept.size.toLocaleString("en")} entries`, "holds");
  }
  if (wanted && !found.length) throw new Wrong(`no entry is called ${wanted} or is about it`);
  for (const one of found) told(`entry ${one.ix.toLocaleString("en")} of it: ${one.body.kind}`, "holds");
  $("body").textContent = found.map((one) => JSON.stringify(one.body, null, 2)).join("\n");
  $("body").hidden = !found.length;
  told("verified", "verdict holds");
}

$("verify").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("found").replaceChildren();
  $("body").hidden = true;
  $("progress").hidden = false;
  $("progress").value = 0;
  try {
    if (!globalThis.crypto?.subtle) throw new Wrong("this browser computes only over https or on this machine itself");
    await ($("folder") ? verifyFolder() : verify());
  } catch (error) {
    told(error instanceof Wrong ? `does not hold: ${error.message}` : `could not be computed: ${error.message}`, "verdict fails");
  } finally {
    $("progress").hidden = true;
  }
});
if (!$("folder")) begin().catch((error) => told(`could not be read: ${error.message}`, "verdict fails"));
