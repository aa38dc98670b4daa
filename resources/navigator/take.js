/* What can be taken out: a selection as a table, as a sheet or as an entry of a configuration, the map as a picture. */
function save(name, what) {
  const made = make("a"), blob = what instanceof Blob ? what : new Blob([what], { type: "text/plain" });
  Object.assign(made, { href: URL.createObjectURL(blob), download: name });
  made.click();
  setTimeout(() => URL.revokeObjectURL(made.href), 10000);
}
const tsv = rows => rows.map(cells => cells.map(v => String(v ?? "").replace(/[\t\r\n]+/g, " ")).join("\t")).join("\n") + "\n";

/* One row per model, with all columns, and its place in the space that is shown. */
function selectionTable(pool, space, kinds, indices) {
  const value = ({ labels, of, raw, values }, i) => labels ? labels[of[i]] : (raw || values)[i];
  const own = Object.entries(kinds).filter(([key]) => !["silhouette", "chosen"].includes(key));
  const heads = ["model", ...own.map(([key]) => key), "space", "silhouette", "x", "y"];
  return tsv([heads, ...indices.map(i => [pool.names[i], ...own.map(([, kind]) => value(kind, i)), space.space, silhouette(space, i), space.x?.[i].toFixed(5), space.y?.[i].toFixed(5)])]);
}
/* A sheet as pools read it. */
function selectionSheet(pool, behind, indices) {
  const label = (kind, i) => pool[kind].labels[pool[kind].of[i]];
  return tsv([["model", "source", "base", "domain", "kind", "subfolder"], ...indices.map(i => {
    const { source, kind, subfolder } = behind.models[i];
    return [pool.names[i], source, label("base", i), label("domain", i), kind, subfolder];
  })]);
}
/* An entry of a configuration that has these models already. */
const selectionPool = (pool, indices) => `# Models of ${pool.pool}; beside the configuration that defines them.\npools:\n  selection:\n    models:\n${indices.map(i => `      - "${pool.names[i]}"`).join("\n")}\n`;

/* An SVG as a picture of twice its size. */
async function pngOf(svg) {
  const picture = new Image();
  picture.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
  await picture.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [2 * picture.width, 2 * picture.height];
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  return new Promise(done => { canvas.toBlob(done); });
}
