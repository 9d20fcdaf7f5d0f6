// Two texts as one, what differs marked: words of spaced scripts, characters of Chinese. As augment/diff/marks.py does.
const TOKEN = /[0-9A-Za-z\u00C0-\u024F\u0370-\u03FF\u0400-\u04FF\u0590-\u06FF]+|\s+|[\uD800-\uDBFF][\uDC00-\uDFFF]|[^]/g;
const MOST_TOKENS = 600; // of a differing stretch that are aligned, at a cost of their product

function pieces(before, after) {
  const a = before.match(TOKEN) || [], b = after.match(TOKEN) || [];
  let start = 0, end = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  const found = [["=", a.slice(0, start).join("")]];
  found.push(...aligned(a.slice(start, a.length - end), b.slice(start, b.length - end)));
  found.push(["=", a.slice(a.length - end).join("")]);
  return found.filter((piece) => piece[1]);
}

function aligned(a, b) {
  if (Math.max(a.length, b.length) > MOST_TOKENS) return [["-", a.join("")], ["+", b.join("")]];
  const width = b.length + 1, longest = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      longest[i * width + j] = a[i] === b[j]
        ? longest[(i + 1) * width + j + 1] + 1
        : Math.max(longest[(i + 1) * width + j], longest[i * width + j + 1]);
    }
  }
  const runs = [];
  let i = 0, j = 0;
  const add = (kind, token) => {
    const last = runs[runs.length - 1];
    if (last && last[0] === kind) last[1].push(token); else runs.push([kind, [token]]);
  };
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) { add("=", a[i]); i += 1; j += 1; }
    else if (j >= b.length || (i < a.length && longest[(i + 1) * width + j] >= longest[i * width + j + 1])) { add("-", a[i]); i += 1; }
    else { add("+", b[j]); j += 1; }
  }
  const found = [];
  let gone = "", came = "";
  runs.forEach(([kind, tokens], place) => {
    const alone = kind === "=" && tokens.length === 1 && place > 0 && place < runs.length - 1; // chance, between two changes
    if (kind === "=" && !alone) { found.push(["-", gone], ["+", came], ["=", tokens.join("")]); gone = came = ""; }
    else { if (kind !== "+") gone += tokens.join(""); if (kind !== "-") came += tokens.join(""); }
  });
  found.push(["-", gone], ["+", came]);
  return found;
}

const REWRITTEN = 0.3; // a smaller share in common is chance: the new text is shown alone

function rewritten(found, before, after) {
  const same = found.reduce((sum, [kind, text]) => sum + (kind === "=" ? text.length : 0), 0);
  return same < REWRITTEN * Math.max(before.length, after.length);
}

function marked(into, before, after, { removed = true } = {}) {
  const found = pieces(before, after);
  if (rewritten(found, before, after)) { into.append(element("ins", "", after)); return; }
  for (const [kind, text] of found) {
    if (kind === "=") into.append(text);
    else if (kind === "+") into.append(element("ins", "", text));
    else if (removed) into.append(element("del", "", text));
  }
}

function element(name, kind = "", text = null) {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  if (text !== null) made.textContent = text; // never innerHTML: rows hold whatever people wrote
  return made;
}
