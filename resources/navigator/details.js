/* One model: its neighbours, where it is from, its card. */
const say = text => { one("#status").textContent = text; };

function neighboursTable(pool, space, i, go, chip) {
  const rows = [];
  for (let k = i * space.ranks; k < (i + 1) * space.ranks; k++) {
    const j = space.neighbours[k];
    rows.push(row([[String(k - i * space.ranks + 1), "number"], [go(j)], [chip(j)], [signed(space.similarities[k] / STEP, 4), "number"]]));
  }
  const how = space.recall < 1 ? `, by an index that finds ${(100 * space.recall).toFixed(1)} % of the nearest` : "";
  return table(`Nearest by ${space.title.toLowerCase()} (cosine similarity)${how}`,
    [{ text: "#", kind: "number" }, "Model", "Domain", { text: "Similarity", kind: "number" }], rows);
}

function step(title, ...lines) {
  return put(make("li"), make("b", title), ...lines.filter(Boolean).map(line => put(make("span"), line)));
}
function hubPage(repo) {
  const made = make("a", `${repo} on the Hugging Face Hub`);
  Object.assign(made, { href: `https://huggingface.co/${repo.split("/").map(encodeURIComponent).join("/")}`, target: "_blank", rel: "noreferrer" });
  return made;
}
function digest(text) { return text ? `SHA-256 ${text}` : ""; }
function originOf(record) {
  const { origin = {} } = record;
  if (origin.pypi) return origin.pypi.files.map(f => `${f.name}: ${f.member}`).join(", ");
  if (origin.hub) return `${origin.hub.repo}, commit ${origin.hub.commit}`;
  if (origin.model) return `the model ${origin.model}`;
  return Object.keys(origin).join(", ");
}
function lineage(pool, behind, i, space) {
  const model = behind.models[i], name = pool.names[i], record = behind.bases[pool.base.labels[pool.base.of[i]]];
  const steps = [step(`Base ${record.name}`, originOf(record), record.origin?.hub ? hubPage(record.origin.hub.repo) : "", record.licence ? `licence ${record.licence}` : "", digest(record.weights_sha256))];
  for (const part of model.data || []) {
    const dataset = behind.datasets[part.dataset], parts = [`split ${part.split}`];
    if ((part.share ?? 1) !== 1) parts.push(`share ${part.share}`);
    if (part.rows) parts.push(`${part.rows} rows`);
    steps.push(step(`Dataset ${part.dataset}`, dataset.source, [dataset.domain, ...parts, `licence ${dataset.licence}`].join(", ")));
  }
  const recipe = pool.recipe.labels[pool.recipe.of[i]];
  if (model.delta) steps.push(step(`Merged`, `the model ${model.origin} plus the instruction delta ${model.delta}`));
  else if (model.origin) steps.push(step("Fetched", model.origin, model.hub ? hubPage(model.hub) : ""));
  else steps.push(step(`Recipe ${recipe}`, [model.variant && model.variant !== "own" ? `prompt ${model.variant}` : "", `seed ${model.seed}`].filter(Boolean).join(", ")));
  steps.push(step(`Model ${name}`, model.file));
  steps.push(step(space.title, `results/pools/${pool.pool}/${space.space}/embeddings.npz`));
  const ask = make("p", "What stands behind each, byte by byte: ", "soft");
  return [put(make("ol", null, "lineage"), ...steps), put(ask, make("code", `python scripts/lineage.py trace ${model.file}`))];
}

/* Models whose similarity is 1 to the four decimals that are kept, and those that nearly are. */
const NEARLY = 9990;
function twins(pool, space, i, go) {
  const said = [];
  const near = least => { const found = []; for (let k = i * space.ranks; k < (i + 1) * space.ranks; k++) if (least(space.similarities[k])) found.push(space.neighbours[k]); return found; };
  for (const [found, words] of [[near(s => s >= STEP), "Identical to four decimals of similarity: "], [near(s => s >= NEARLY && s < STEP), `Nearly identical (similarity at least ${NEARLY / STEP}): `]])
    if (found.length) said.push(put(make("p", words, "twins"), ...found.flatMap((j, k) => k ? [", ", go(j)] : [go(j)])));
  return said;
}

/* A training curve as a drawing, with its ends in words. */
function curve({ steps, loss }) {
  const space = "http://www.w3.org/2000/svg", wide = 380, high = 90, made = document.createElementNS(space, "svg"), way = document.createElementNS(space, "polyline");
  const low = Math.min(...loss), top = Math.max(...loss), last = steps.length - 1, text = `Training loss from ${signed(loss[0], 3)} at step ${steps[0]} to ${signed(loss[last], 3)} at step ${steps[last]}, between ${signed(low, 3)} and ${signed(top, 3)}`;
  const x = s => 4 + (s - steps[0]) / Math.max(1, steps[last] - steps[0]) * (wide - 8), y = v => high - 4 - (v - low) / Math.max(1e-9, top - low) * (high - 8);
  for (const [k, v] of Object.entries({ viewBox: `0 0 ${wide} ${high}`, role: "img", "aria-label": text, class: "curve" })) made.setAttribute(k, v);
  way.setAttribute("points", steps.map((s, k) => `${x(s).toFixed(1)},${y(loss[k]).toFixed(1)}`).join(" "));
  made.append(way);
  return [make("h3", "Training"), made, make("p", `${text}.`, "soft")];
}

/* The Markdown that cards are written in: headings, tables, code, paragraphs. Text stays text. */
function inline(into, text) {
  text.split(/`([^`]+)`/).forEach((part, k) => into.append(k % 2 ? make("code", part) : part));
  return into;
}
function verbatim(lines) {
  const made = put(make("pre"), make("code", lines.join("\n")));
  made.tabIndex = 0; // so that it scrolls by keyboard
  return made;
}
function cardBody(text) {
  const lines = text.split("\n"), body = make("div", null, "text");
  const until = stop => { const from = lines.splice(0, lines.findIndex(stop) < 0 ? lines.length : lines.findIndex(stop)); lines.shift(); return from; };
  if (lines[0] === "---") {
    lines.shift();
    body.append(verbatim(until(line => line === "---")));
  }
  while (lines.length) {
    const line = lines.shift();
    if (line.startsWith("```")) body.append(verbatim(until(l => l.startsWith("```"))));
    else if (/^#+ /.test(line)) body.append(make("h4", line.replace(/^#+ /, "")));
    else if (line.startsWith("|")) {
      const cells = [line];
      while (lines.length && lines[0].startsWith("|")) cells.push(lines.shift());
      const split = l => l.slice(1, l.lastIndexOf("|")).split("|").map(c => c.trim());
      const rows = cells.slice(2).map(l => put(make("tr"), ...split(l).map(c => inline(make("td"), c))));
      body.append(put(make("table"), put(make("thead"), put(make("tr"), ...split(cells[0]).map(c => make("th", c)))), put(make("tbody"), ...rows)));
    } else if (line.trim()) body.append(inline(make("p"), line));
  }
  return body;
}
