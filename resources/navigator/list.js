/* The list of models: the same as the map, for those who read. */
const ROWS = 100;
function make(tag, text, kind) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}
const put = (into, ...parts) => { into.append(...parts); return into; };
function press(text, kind, act) {
  const made = make("button", text, kind);
  made.type = "button";
  made.onclick = act;
  return made;
}
function table(caption, heads, rows) {
  const head = make("tr");
  for (const h of heads) {
    const cell = make("th", typeof h === "string" ? h : null, h.kind);
    cell.scope = "col";
    if (h.sort) { cell.setAttribute("aria-sort", h.sort); cell.append(press(h.text, "", h.act)); } else if (h.text) cell.textContent = h.text;
    head.append(cell);
  }
  return put(make("table"), make("caption", caption), put(make("thead"), head), put(make("tbody"), ...rows));
}
function row(cells) {
  return put(make("tr"), ...cells.map(([value, kind]) => { const cell = make("td", null, kind); cell.append(value); return cell; }));
}

/* Indices of models in the order of a column. */
function ordered(indices, key, down) {
  const sign = down ? -1 : 1;
  return [...indices].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === null || y === null) return (x === null) - (y === null) || a - b;
    return (x < y ? -sign : x > y ? sign : 0) || a - b;
  });
}
