/* The page: what is chosen, and what follows from it. */
async function start() {
  const pool = await json("models"), count = pool.names.length, spaces = [];
  const box = one("#find"), slider = one("#threshold"), panel = one("#panel"), map = new PoolMap(one("#map"), count);
  const state = { space: null, colour: "domain", words: [], only: -1, chosen: -1, sort: "name", down: false, rows: ROWS };
  map.names = pool.names;
  const label = (kind, i) => pool[kind].labels[pool[kind].of[i]];
  const plural = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;
  const texts = pool.names.map((name, i) => [name, label("domain", i), label("recipe", i), label("base", i)].join("\n").toLowerCase());
  const markers = [...new Set(Object.values(pool.looks).map(l => l[1]))];
  let behind = null;

  /* Looks of a model under the colour that is chosen */
  const lookOf = (kind, k) => {
    if (kind === "domain") { const [colour, marker] = pool.looks[pool.domain.labels[k]]; return [legible(colour), marker]; }
    const n = pool.palette.length;
    return [legible(pool.palette[k % n]), markers[(k + Math.floor(k / n)) % markers.length]];
  };
  function looks() {
    if (state.colour === "silhouette") return { colour: i => scaled(silhouette(state.space, i)), marker: () => "circle" };
    const made = pool[state.colour].labels.map((_, k) => lookOf(state.colour, k)), of = pool[state.colour].of;
    return { colour: i => made[of[i]][0], marker: i => made[of[i]][1] };
  }
  const chip = i => {
    const [colour, marker] = lookOf("domain", pool.domain.of[i]);
    return put(make("span", null, "chip"), glyph(marker, colour), label("domain", i));
  };
  const go = i => press(pool.names[i], "go", () => { choose(i, true); });

  /* Models that the search and the legend leave; null where they leave all */
  function kept() {
    if (!state.words.length && state.only < 0) return null;
    return texts.map((text, i) => state.words.every(w => text.includes(w)) && (state.only < 0 || pool[state.colour].of[i] === state.only));
  }
  const hits = () => { const k = kept(); return [...Array(count).keys()].filter(i => !k || k[i]); };

  function paint() {
    const left = kept();
    map.paint(looks(), left);
    const n = left ? left.filter(Boolean).length : count;
    one("#hits").textContent = left ? (n ? `${n.toLocaleString("en")} of ${count.toLocaleString("en")}` : "none") : "";
    legend();
    if (state.chosen < 0) list();
  }

  /* Legend */
  function legend() {
    const into = one("#legend"), at = into.scrollTop;
    const focused = into.contains(document.activeElement) ? [...into.children].indexOf(document.activeElement) : -1;
    into.replaceChildren();
    if (state.colour === "silhouette") {
      const bar = make("i"), stops = [-1, -.5, 0, .5, 1].map(scaled).join(", ");
      bar.style.background = `linear-gradient(to right, ${stops})`;
      into.append(put(make("div", null, "scale"), "silhouette −1", bar, "1 (grey ", glyph("circle", scaled(null)), ": none)"));
      return;
    }
    const { labels, of } = pool[state.colour], counts = labels.map(() => 0);
    for (const k of of) counts[k]++;
    labels.forEach((text, k) => {
      const [colour, marker] = lookOf(state.colour, k);
      const made = press(null, "", () => { state.only = state.only === k ? -1 : k; state.rows = ROWS; paint();
        say(state.only < 0 ? "all models" : `${plural(counts[k], "model")} of ${text}`); });
      made.setAttribute("aria-pressed", String(state.only === k));
      into.append(put(made, glyph(marker, colour), make("span", text), make("small", counts[k].toLocaleString("en"))));
    });
    into.scrollTop = at;
    if (focused >= 0) into.children[focused].focus();
  }

  /* List */
  function list() {
    const sorts = { name: i => i, domain: i => label("domain", i), silhouette: i => silhouette(state.space, i) };
    const found = ordered(hits(), sorts[state.sort], state.down), shown = found.slice(0, state.rows);
    const head = (key, text, kind) => ({ text, kind, sort: state.sort === key ? (state.down ? "descending" : "ascending") : "none",
      act: () => { state.down = state.sort === key && !state.down; state.sort = key; list(); one(`[data-sort=${key}] button`, panel).focus(); } });
    const rows = shown.map(i => row([[go(i)], [chip(i)], [signed(silhouette(state.space, i)), "number"]]));
    const made = table(`${plural(found.length, "model")}, silhouettes by ${state.space.title.toLowerCase()}`,
      [head("name", "Model"), head("domain", "Domain"), head("silhouette", "Silhouette", "number")], rows);
    ["name", "domain", "silhouette"].forEach((key, k) => { made.tHead.rows[0].cells[k].dataset.sort = key; });
    const body = [made];
    if (found.length > shown.length) {
      body.push(press(`Show ${Math.min(ROWS, found.length - shown.length)} more of ${plural(found.length, "model")}`, "more-rows", () => {
        const first = state.rows;
        state.rows += ROWS;
        list();
        one("tbody", panel).rows[first].querySelector("button").focus();
      }));
    }
    panel.setAttribute("aria-label", "Models");
    panel.replaceChildren(...body);
  }

  /* One model */
  async function choose(i, focus = false) {
    state.chosen = i;
    const { space } = state, near = i < 0 || !space.ranks ? [] : Array.from(space.neighbours.subarray(i * space.ranks, (i + 1) * space.ranks));
    map.choose(i, near);
    if (i < 0) { list(); say("nothing chosen"); return; }
    if (space.map) map.reveal(i);
    const name = pool.names[i], score = silhouette(space, i), heading = make("h2", name);
    heading.tabIndex = -1;
    const back = press("← All models", "", () => { choose(-1); panel.focus(); });
    const first = [back, heading, put(make("p", null, "soft"), chip(i), `, recipe ${label("recipe", i)}, base ${label("base", i)}`),
      make("p", score === null ? "No silhouette in this space." : `Silhouette ${signed(score)} by ${space.title.toLowerCase()}.`, "soft")];
    if (space.ranks) first.push(make("h3", "Neighbours"), neighboursTable(pool, space, i, go, chip));
    panel.setAttribute("aria-label", `Details of ${name}`);
    panel.replaceChildren(...first);
    panel.scrollTop = 0;
    if (focus) { heading.focus({ preventScroll: true }); if (panel.getBoundingClientRect().top > innerHeight * .8) heading.scrollIntoView(); }
    say(`${name}, ${label("domain", i)}${score === null ? "" : `, silhouette ${signed(score)}`}`
      + (near.length ? `; nearest ${pool.names[near[0]]}, ${signed(space.similarities[i * space.ranks] / STEP)}` : ""));
    behind ||= await json("cards");
    if (state.chosen !== i || state.space !== space) return;
    const card = make("details"), title = make("summary", "README.md as it stands in the model's folder");
    card.append(title, cardBody(cardOf(behind, name, i)));
    panel.append(make("h3", "Lineage"), ...lineage(pool, behind, i, space), make("h3", "Card"), card);
  }

  /* Links */
  function links() {
    const { space } = state, off = !space.links || slider.valueAsNumber > space.similarities[space.links[0]] / STEP;
    let n = 0;
    if (!off) { const least = Math.round(slider.value * STEP); while (n < space.links.length && space.similarities[space.links[n]] >= least) n++; }
    const drawn = Math.min(n, MOST_LINKS);
    map.link(space.map && drawn ? Array.from(space.links.subarray(0, drawn), k => [Math.floor(k / space.ranks), space.neighbours[k]]) : []);
    const text = off ? "off" : `≥ ${signed(Number(slider.value), 3)}: ${n > drawn ? `${drawn.toLocaleString("en")} of ` : ""}${plural(n, "link")}`;
    one("#linked").textContent = text;
    slider.setAttribute("aria-valuetext", text);
    slider.title = "Links among the ten nearest models of each model";
  }

  /* Another space */
  async function change(k) {
    const space = spaces[k] ||= await readSpace(pool.spaces[k], count), { links: all } = space;
    state.space = space;
    const [most, least] = all ? [space.similarities[all[0]], space.similarities[all[all.length - 1]]] : [STEP, 0];
    const step = most - least > 2000 ? 50 : 10, low = Math.floor(least / step), high = Math.floor(most / step) + 1;
    Object.assign(slider, { min: low * step / STEP, max: high * step / STEP, step: step / STEP, disabled: !all });
    slider.value = slider.max;
    map.places(space);
    const why = space.map ? "" : `No map: ${space.reason || "a map needs at least three models"}.`;
    one("#note").textContent = why;
    one("#note").hidden = !why;
    const bases = pool.base.labels.length;
    one("#about").textContent = `${plural(count, "model")}, ${plural(pool.domain.labels.length, "domain")}, ${plural(bases, "base")}. `
      + `${space.title}: ${space.silhouette === null ? "no silhouette" : `silhouette ${signed(space.silhouette)}`}`
      + (space.method ? `; map by ${space.method}. ${space.fit}` : ".");
    one("#map").setAttribute("aria-label", `Map of ${plural(count, "model")} by ${space.title.toLowerCase()}`);
    paint();
    links();
    if (state.chosen >= 0) await choose(state.chosen);
    say(one("#about").textContent);
  }

  /* What people do */
  box.oninput = () => {
    state.words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    state.rows = ROWS;
    if (state.chosen >= 0) choose(-1);
    paint();
  };
  box.onkeydown = e => {
    if (e.key === "Escape") { box.value = ""; box.oninput(); }
    if (e.key === "Enter") { const found = hits(); if (found.length && state.words.length) choose(found[0], true); }
  };
  one("#space").onchange = e => change(Number(e.target.value));
  one("#colour").onchange = e => { state.colour = e.target.value; state.only = -1; paint(); };
  slider.oninput = links;
  one(".more").onclick = () => map.zoom(1.5);
  one(".less").onclick = () => map.zoom(1 / 1.5);
  one(".whole").onclick = () => map.fit();
  const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  map.element.addEventListener("keydown", e => {
    if (e.ctrlKey || e.metaKey || e.altKey || !state.space.map) return;
    if (e.key in ways) choose(state.chosen < 0 ? map.at(...map.box.map(v => v / 2), Infinity) : map.towards(state.chosen, ...ways[e.key]));
    else if (e.key === "+" || e.key === "=") map.zoom(1.5);
    else if (e.key === "-") map.zoom(1 / 1.5);
    else if (e.key === "0") map.fit();
    else if (e.key === "Enter" && state.chosen >= 0) choose(state.chosen, true);
    else return;
    e.preventDefault();
  });
  addEventListener("keydown", e => {
    if (e.key === "Escape" && e.target !== box && state.chosen >= 0) { const inside = panel.contains(document.activeElement); choose(-1); if (inside) map.element.focus(); }
    if (e.key === "/" && !e.target.closest("input, select")) { e.preventDefault(); box.focus(); }
  });
  const tip = one("#tip"), leave = () => { tip.hidden = true; };
  map.plot.on_event("tap", e => { map.element.focus({ preventScroll: true }); choose(map.at(e.sx, e.sy, 22)); });
  map.plot.on_event("mousemove", e => {
    const i = map.at(e.sx, e.sy);
    if (i < 0) return leave();
    const score = silhouette(state.space, i);
    tip.replaceChildren(make("b", pool.names[i]), make("span", `${label("domain", i)}, recipe ${label("recipe", i)}`), make("span", `base ${label("base", i)}`),
      ...(score === null ? [] : [make("span", `silhouette ${signed(score)}`)]));
    tip.hidden = false;
    const [px, py] = map.pixel(i), [width] = map.box;
    tip.style.left = `${px > width / 2 ? Math.max(4, px - tip.offsetWidth - 14) : px + 14}px`;
    tip.style.top = `${Math.max(4, py - tip.offsetHeight - 8)}px`;
  });
  map.plot.on_event("mouseleave", leave);
  map.plot.on_event("panstart", leave);
  dark.addEventListener("change", () => { paint(); if (state.chosen >= 0) choose(state.chosen); });

  await map.show();
  const mapped = pool.spaces.map((s, k) => s.map ? k : -1).filter(k => k >= 0), usual = pool.spaces.findIndex(s => s.space === "delta_activations");
  one("#space").selectedIndex = mapped.includes(usual) || !mapped.length ? Math.max(0, usual) : mapped[0];
  await change(one("#space").selectedIndex);
  requestAnimationFrame(() => setTimeout(() => { performance.mark("drawn"); document.documentElement.dataset.ready = ""; }));
  return { pool, map, state };
}
const page = start();
