/* The page: what is chosen, and what follows from it. */
async function start() {
  const pool = await json("models"), count = pool.names.length, spaces = [];
  const box = one("#find"), slider = one("#threshold"), panel = one("#panel");
  const map = new PoolMap(one("#map"), pool.names), second = new PoolMap(one("#second"), pool.names), maps = [map, second];
  const state = { space: null, beside: null, colour: "domain", words: [], only: -1, around: null, chosen: -1, sort: "name", down: false, rows: ROWS };
  const kinds = columnsOf(pool, state), apart = Object.values(kinds).filter(kind => kind.labels && kind !== kinds.domain);
  const label = (kind, i) => pool[kind].labels[pool[kind].of[i]];
  const plural = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;
  const names = pool.names.map(name => name.toLowerCase());
  const markers = [...new Set(Object.values(pool.looks).map(l => l[1]))];
  let behind = null;
  const parts = [];
  /* What stands behind some models, read where it has not been yet. */
  async function cards(wanted) {
    behind ||= { models: [], cards: [], ...await json("cards") };
    const { each } = behind, read = async k => { const part = await json(`cards-${k}`); part.models.forEach((model, n) => { behind.models[k * each + n] = model; behind.cards[k * each + n] = part.cards[n]; }); };
    for (const k of new Set(wanted.map(i => Math.floor(i / each)))) await (parts[k] ||= read(k));
    return behind;
  }

  /* Looks of a model under the colour that is chosen */
  const lookOf = (kind, k) => {
    if (kind === "domain") { const [colour, marker] = pool.looks[pool.domain.labels[k]]; return [legible(colour), marker]; }
    const n = pool.palette.length;
    return [legible(pool.palette[k % n]), markers[(k + Math.floor(k / n)) % markers.length]];
  };
  const scale = () => state.colour === "silhouette" ? { range: [-1, 1], colour: share => scaled(2 * share - 1) } : { range: rangeOf(kinds[state.colour].values), colour: ramped };
  /* Kept until another colour, space, chosen model or scheme of the page asks for others. */
  let made = { key: null };
  function looks() {
    const key = [state.colour, state.space.space, state.colour === "chosen" && state.chosen, dark.matches].join();
    if (made.key !== key) made = { key, look: newLooks() };
    return made.look;
  }
  function newLooks() {
    const kind = kinds[state.colour];
    if (kind.labels) return { styles: kind.labels.map((_, k) => lookOf(state.colour, k)), style: Uint16Array.from(kind.of) };
    const { range, colour } = scale();
    return looksOfNumbers(kind.values, colour)(...(range || [0, 1]));
  }
  const chips = new Map(); // one of each domain, copied
  const chip = i => {
    const k = pool.domain.of[i], [colour, marker] = lookOf("domain", k);
    if (chips.get(k)?.colour !== colour) chips.set(k, { colour, made: put(make("span", null, "chip"), glyph(marker, colour), label("domain", i)) });
    return chips.get(k).made.cloneNode(true);
  };
  const go = i => press(pool.names[i], "go", () => { choose(i, true); });

  /* Which models have a word in their name or labels; of a word that is a letter longer, only those that had the shorter one. */
  const labelled = Object.values(kinds).filter(kind => kind.labels).map(({ labels, of }) => ({ texts: labels.map(text => text.toLowerCase()), of }));
  const known = new Map();
  function having(word) {
    if (known.has(word)) return known.get(word);
    if (known.size > 40) known.clear();
    const before = known.get(word.slice(0, -1)), found = new Uint8Array(count);
    for (let i = 0; i < count; i++) if ((!before || before[i]) && names[i].includes(word)) found[i] = 1;
    for (const { texts, of } of labelled) {
      const has = Uint8Array.from(texts, text => text.includes(word));
      if (has.includes(1)) for (let i = 0; i < count; i++) found[i] |= has[of[i]];
    }
    known.set(word, found);
    return found;
  }
  /* Models that the search, the legend and the line around them leave; null where they leave all */
  function kept() {
    const { words, only, around } = state;
    if (!words.length && only < 0 && !around) return null;
    const left = new Uint8Array(count).fill(1);
    for (const has of words.map(having)) for (let i = 0; i < count; i++) left[i] &= has[i];
    if (only >= 0) kinds[state.colour].of.forEach((k, i) => { if (k !== only) left[i] = 0; });
    if (around) around.inside.forEach((inside, i) => { if (!inside) left[i] = 0; });
    return left;
  }
  let left = null, hits = [];

  function paint() {
    left = kept();
    hits = [];
    for (let i = 0; i < count; i++) if (!left || left[i]) hits.push(i);
    for (const m of shownMaps()) m.paint(looks(), left);
    one("#hits").textContent = left ? (hits.length ? `${hits.length.toLocaleString("en")} of ${count.toLocaleString("en")}` : "none") : "";
    one("#taken").textContent = left ? `The ${plural(hits.length, "model")} that search, legend and the line around models leave:` : `All ${plural(count, "model")}; search, the legend or a line around models leaves fewer:`;
    legend();
    if (state.chosen < 0) list();
    remember();
  }
  const shownMaps = () => state.beside ? maps : [map];

  /* Legend */
  const legendOf = () => {
    const kind = kinds[state.colour];
    if (kind.labels) return kind.labels.map((text, k) => ({ look: lookOf(state.colour, k), text }));
    const { range, colour } = scale();
    if (!range) return [{ text: `${kind.title}: of no model` }];
    const none = kind.values.includes(null) ? [{ look: [legible("#888888"), "circle"], text: "none" }] : [];
    return [{ text: kind.title }, ...[0, .25, .5, .75, 1].map(share => ({ look: [colour(share), "circle"], text: shown(kind, range[0] + share * (range[1] - range[0])) })), ...none];
  };
  let written = null;
  function legend() {
    const key = `${made.key} ${state.only}`;
    if (written === key) return;
    written = key;
    const into = one("#legend"), at = into.scrollTop, kind = kinds[state.colour];
    const focused = into.contains(document.activeElement) ? [...into.children].indexOf(document.activeElement) : -1;
    into.replaceChildren();
    if (!kind.labels) {
      const bar = make("i"), { range, colour } = scale();
      bar.style.background = `linear-gradient(to right, ${[0, .2, .4, .6, .8, 1].map(colour).join(", ")})`;
      const parts = range ? [`${kind.title.toLowerCase()} ${shown(kind, range[0])}`, bar, shown(kind, range[1])] : [state.colour === "chosen" && state.chosen < 0 ? "Choose a model" : "No model has this"];
      const none = state.colour === "chosen" && !state.space.pairs ? "neither is among the nearest of the other" : "none";
      if (range && kind.values.includes(null)) parts.push(glyph("circle", legible("#888888")), none);
      into.append(put(make("div", null, "scale"), ...parts));
      return;
    }
    const { labels, of } = kind, counts = labels.map(() => 0);
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
    const found = state.sort === "name" && !state.down ? hits : ordered(hits, sorts[state.sort], state.down), shown = found.slice(0, state.rows);
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
  const nearOf = (space, i) => i < 0 || !space.ranks ? [] : Array.from(space.neighbours.subarray(i * space.ranks, (i + 1) * space.ranks));
  async function choose(i, focus = false) {
    state.chosen = i;
    const { space } = state, near = nearOf(space, i);
    map.choose(i, near);
    if (state.beside) second.choose(i, nearOf(state.beside, i));
    if (state.colour === "chosen") paint();
    remember();
    if (i < 0) { list(); say("nothing chosen"); return; }
    for (const m of shownMaps()) if (m.x.length) m.reveal(i);
    const name = pool.names[i], score = silhouette(space, i), heading = make("h2", name);
    heading.tabIndex = -1;
    const back = press("← All models", "", () => { choose(-1); panel.focus(); });
    const first = [back, heading, put(make("p", null, "soft"), chip(i), `, recipe ${label("recipe", i)}, base ${label("base", i)}`),
      make("p", score === null ? "No silhouette in this space." : `Silhouette ${signed(score)} by ${space.title.toLowerCase()}.`, "soft")];
    if (space.ranks) first.push(...twins(pool, space, i, go), make("h3", "Neighbours"), neighboursTable(pool, space, i, go, chip));
    panel.setAttribute("aria-label", `Details of ${name}`);
    panel.replaceChildren(...first);
    panel.scrollTop = 0;
    if (focus) { heading.focus({ preventScroll: true }); if (panel.getBoundingClientRect().top > innerHeight * .8) heading.scrollIntoView(); }
    say(`${name}, ${label("domain", i)}${score === null ? "" : `, silhouette ${signed(score)}`}`
      + (near.length ? `; nearest ${pool.names[near[0]]}, ${signed(space.similarities[i * space.ranks] / STEP)}` : ""));
    await cards([i]);
    if (state.chosen !== i || state.space !== space) return;
    const card = make("details"), title = make("summary", "README.md as it stands in the model's folder"), model = behind.models[i];
    card.append(title, cardBody(cardOf(behind, name, i)));
    if (model.hub) panel.insertBefore(put(make("p"), hubPage(model.hub)), heading.nextSibling);
    panel.append(...(model.curve ? curve(model.curve) : []), make("h3", "Lineage"), ...lineage(pool, behind, i, space), make("h3", "Card"), card);
  }

  /* Links */
  function links() {
    const { space } = state, off = !space.ranks || slider.valueAsNumber > space.most / STEP;
    let n = 0, drawn = 0;
    if (!off) {
      const least = Math.round(slider.value * STEP), all = space.links ||= linksOf(space);
      while (n < all.length && space.similarities[all[n]] >= least) n++;
      drawn = Math.min(n, MOST_LINKS);
    }
    map.link(space.map && drawn ? Array.from(space.links.subarray(0, drawn), k => [Math.floor(k / space.ranks), space.neighbours[k]]) : []);
    const text = off ? "off" : `≥ ${signed(Number(slider.value), 3)}: ${n > drawn ? `${drawn.toLocaleString("en")} of ` : ""}${plural(n, "link")}`;
    one("#linked").textContent = text;
    slider.setAttribute("aria-valuetext", text);
    slider.title = "Links among the nearest models of each model";
    remember();
  }

  /* Another space */
  const read = async k => spaces[k] ||= await readSpace(pool.spaces[k], count);
  async function change(k) {
    const space = await read(k);
    state.space = space;
    const [most, least] = space.ranks ? [space.most, space.least] : [STEP, 0];
    const step = most - least > 2000 ? 50 : 10, low = Math.floor(least / step), high = Math.floor(most / step) + 1;
    Object.assign(slider, { min: low * step / STEP, max: high * step / STEP, step: step / STEP, disabled: !space.ranks });
    slider.value = slider.max;
    map.places(space, pool.domain, apart);
    const why = space.map ? "" : `No map: ${count > 2 && space.reason || "a map needs at least three models"}.`;
    one("#note").textContent = why;
    one("#note").hidden = !why;
    fits();
    const bases = pool.base.labels.length;
    one("#about").textContent = `${plural(count, "model")}, ${plural(pool.domain.labels.length, "domain")}, ${plural(bases, "base")}. `
      + `${space.title}: ${space.silhouette === null ? "no silhouette" + (space.map && space.reason ? ` (${space.reason})` : "") : `silhouette ${signed(space.silhouette)}`}`
      + (space.method ? `; map by ${space.method}.` : ".");
    one("#map").setAttribute("aria-label", `Map of ${plural(count, "model")} by ${space.title.toLowerCase()}`);
    one(".which").textContent = space.title;
    paint();
    links();
    if (state.chosen >= 0) await choose(state.chosen);
    say(one("#about").textContent);
  }
  /* What the distances of each map that is shown mean, and how well they fit */
  function fits() {
    const shown = [state.space, state.beside].filter(space => space?.map), start = map.start && shown.length ? `Names on the map leave out “${map.start}”.` : "";
    one("#fit").textContent = [...shown.map(space => (state.beside ? `${space.title}: ${space.fit[0].toLowerCase()}${space.fit.slice(1)}` : space.fit)), start].filter(Boolean).join(" ");
  }
  async function besides(k) {
    const pane = second.element.parentElement, space = state.beside = k < 0 ? null : await read(k);
    pane.hidden = !space;
    one(".which").hidden = !space;
    fits();
    for (const m of maps) m.reshape();
    if (space) {
      second.element.setAttribute("aria-label", `Map of ${plural(count, "model")} by ${space.title.toLowerCase()}`);
      one(".which", pane).textContent = space.title;
      second.places(space, pool.domain, apart);
      second.choose(state.chosen, nearOf(space, state.chosen));
    }
    paint();
  }

  /* What is shown, in the address: space, beside, colour, search, legend, links, model, place, line around models */
  let ready = false, later = 0;
  const places = m => m.fitted ? "" : [...m.centre.map(v => v.toFixed(4)), (m.scale / m.whole).toFixed(3)].join();
  function address() {
    const kind = kinds[state.colour], parts = {
      space: state.space.space, beside: state.beside?.space, colour: state.colour === "domain" ? "" : state.colour,
      find: box.value.trim(), only: state.only < 0 ? "" : kind.labels[state.only], links: slider.valueAsNumber < Number(slider.max) ? slider.value : "",
      model: state.chosen < 0 ? "" : pool.names[state.chosen], at: places(map), around: state.around?.line.map(p => p.map(v => v.toFixed(3)).join()).join(";"), in: state.around?.space,
    };
    return `#${new URLSearchParams(Object.entries(parts).filter(([, v]) => v))}`;
  }
  function remember() {
    clearTimeout(later);
    if (ready) later = setTimeout(() => { history.replaceState(null, "", address()); }, 150);
  }
  async function recall() {
    ready = false;
    const asked = new URLSearchParams(location.hash.slice(1)), at = name => pool.spaces.findIndex(s => s.space === name);
    const mapped = pool.spaces.map((s, k) => s.map ? k : -1).filter(k => k >= 0), usual = at("delta_activations");
    const first = mapped.includes(usual) || !mapped.length ? Math.max(0, usual) : mapped[0];
    const k = at(asked.get("space")) < 0 ? first : at(asked.get("space")), colour = asked.get("colour");
    one("#space").selectedIndex = k;
    one("#colour").value = state.colour = colour && colour in kinds ? colour : "domain";
    box.value = asked.get("find") || "";
    state.words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    state.only = kinds[state.colour].labels ? kinds[state.colour].labels.indexOf(asked.get("only")) : -1;
    const line = (asked.get("around") || "").split(";").map(p => p.split(",").map(Number)).filter(p => p.length === 2 && p.every(Number.isFinite));
    const drawn = line.length > 2 && at(asked.get("in")) >= 0 ? await read(at(asked.get("in"))) : null;
    state.around = drawn?.map ? surrounded(line, drawn) : null;
    state.chosen = pool.names.indexOf(asked.get("model"));
    await change(k);
    const beside = at(asked.get("beside"));
    one("#beside").value = String(mapped.includes(beside) ? beside : -1);
    await besides(Number(one("#beside").value));
    if (asked.get("links")) { slider.value = asked.get("links"); links(); }
    const [x, y, zoom] = (asked.get("at") || "").split(",").map(Number);
    if (Number.isFinite(zoom) && zoom > 0) map.look(x, y, zoom * map.whole);
    if (state.chosen < 0) map.choose(-1, []);
    ready = true;
  }
  addEventListener("hashchange", recall);

  /* A line around models: of at most sixty corners, in the units of the map; inside by the rule of odd crossings */
  function surrounded(line, space) {
    line = line.filter((_, k) => k % Math.ceil(line.length / 60) === 0);
    const inside = Uint8Array.from({ length: count }, (_, i) => {
      let odd = 0;
      line.forEach(([ax, ay], k) => {
        const [bx, by] = line[(k + 1) % line.length], x = space.x[i], y = space.y[i];
        if ((ay > y) !== (by > y) && x < (bx - ax) * (y - ay) / (by - ay) + ax) odd ^= 1;
      });
      return odd;
    });
    return { line, inside, space: space.space };
  }
  const drawing = on => { for (const m of maps) m.drawing = on; one(".lasso").setAttribute("aria-pressed", String(on)); };
  one(".lasso").onclick = () => {
    if (state.around) { state.around = null; drawing(false); paint(); say("all models"); } else drawing(!map.drawing);
  };

  /* What is taken out */
  const title = () => `${pool.pool}: ${state.space.title}${state.space.method ? `, ${state.space.method}` : ""}`;
  const light = async act => { root.dataset.light = ""; try { paint(); return await act(); } finally { delete root.dataset.light; paint(); } };
  const picture = () => light(() => svgOf(map, title(), legendOf()));
  const taking = {
    table: () => save(`${pool.pool}.tsv`, selectionTable(pool, state.space, kinds, hits)),
    sheet: async () => save(`${pool.pool}-sheet.tsv`, selectionSheet(pool, await cards(hits), hits)),
    pool: () => save(`${pool.pool}-pool.yaml`, selectionPool(pool, hits)),
    svg: async () => save(`${pool.pool}-${state.space.space}.svg`, await picture()),
    png: async () => save(`${pool.pool}-${state.space.space}.png`, await pngOf(await picture())),
  };
  for (const button of document.querySelectorAll("[data-take]"))
    button.onclick = async () => { await taking[button.dataset.take](); say(`${button.textContent}: saved`); };

  /* Printed: the whole map, in the colours of paper */
  const seen = new Map();
  addEventListener("beforeprint", () => {
    root.dataset.light = "";
    for (const m of shownMaps()) {
      const fitted = m.fitted;
      seen.set(m, fitted ? null : m.eye);
      m.reshape([state.beside ? 620 : 1000, 640], 2);
      if (m.x.length) m.fit();
    }
    paint();
    for (const m of shownMaps()) m.draw();
  });
  addEventListener("afterprint", () => {
    delete root.dataset.light;
    for (const m of shownMaps()) { m.reshape(); const eye = seen.get(m); if (m.x.length) { if (eye) m.look(...eye); else m.fit(); } }
    paint();
  });

  /* What people do */
  box.oninput = () => {
    state.words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    state.rows = ROWS;
    if (state.chosen >= 0) { state.chosen = -1; for (const m of maps) m.choose(-1, []); }
    paint();
  };
  box.onkeydown = e => {
    if (e.key === "Escape") { box.value = ""; box.oninput(); }
    if (e.key === "Enter" && hits.length && state.words.length) choose(hits[0], true);
  };
  for (const [key, kind] of Object.entries(kinds)) one("#colour").append(new Option(kind.title, key));
  one("#beside").append(new Option("nothing", "-1"), ...pool.spaces.flatMap((s, k) => s.map ? [new Option(s.title, k)] : []));
  one("#space").onchange = e => change(Number(e.target.value));
  one("#beside").onchange = e => besides(Number(e.target.value));
  one("#colour").onchange = e => { state.colour = e.target.value; state.only = -1; paint(); };
  slider.oninput = links;
  const every = act => () => { for (const m of shownMaps()) if (m.x.length) act(m); };
  one(".more").onclick = every(m => m.zoom(1.5));
  one(".less").onclick = every(m => m.zoom(1 / 1.5));
  one(".whole").onclick = every(m => m.fit());
  const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  for (const m of maps) {
    m.element.addEventListener("keydown", e => {
      if (e.ctrlKey || e.metaKey || e.altKey || !m.x.length) return;
      if (e.key in ways) choose(state.chosen < 0 ? m.at(...m.box.map(v => v / 2), Infinity) : m.towards(state.chosen, ...ways[e.key]));
      else if (e.key === "+" || e.key === "=") m.zoom(1.5);
      else if (e.key === "-") m.zoom(1 / 1.5);
      else if (e.key === "0") m.fit();
      else if (e.key === "Enter" && state.chosen >= 0) choose(state.chosen, true);
      else return;
      e.preventDefault();
    });
    m.onclick = i => { m.element.focus({ preventScroll: true }); choose(i); };
    m.onhover = i => hover(m, i);
    m.onmove = remember;
    m.onlasso = line => {
      state.around = surrounded(line, m === map ? state.space : state.beside);
      drawing(false);
      paint();
      say(`${plural(hits.length, "model")} inside the line`);
    };
  }
  addEventListener("keydown", e => {
    if (e.key === "Escape" && e.target !== box) {
      if (one("#take").open) { one("#take").open = false; one("#take summary").focus(); return; }
      if (state.chosen < 0 && state.around) { state.around = null; paint(); say("all models"); return; }
      if (state.chosen >= 0) { const inside = panel.contains(document.activeElement); choose(-1); if (inside) map.element.focus(); }
    }
    if (e.key === "/" && !e.target.closest("input, select")) { e.preventDefault(); box.focus(); }
  });
  addEventListener("pointerdown", e => { if (!e.target.closest("#take")) one("#take").open = false; });
  const tip = one("#tip");
  function hover(m, i) {
    for (const other of shownMaps()) other.point(i);
    tip.hidden = i < 0;
    if (i < 0) return;
    const score = silhouette(m === map ? state.space : state.beside, i), kind = kinds[state.colour], value = kind.values?.[i] ?? null;
    tip.replaceChildren(make("b", pool.names[i]), make("span", `${label("domain", i)}, recipe ${label("recipe", i)}`), make("span", `base ${label("base", i)}`),
      ...(score === null ? [] : [make("span", `silhouette ${signed(score)}`)]),
      ...(value === null || state.colour === "silhouette" ? [] : [make("span", `${kind.title.toLowerCase()} ${shown(kind, value)}`)]));
    const [px, py] = m.pixel(i), from = m === map ? [0, 0] : offset, x = px + from[0], y = py + from[1];
    Object.assign(tip.style, px > m.box[0] / 2 ? { left: "auto", right: `calc(100% - ${x - 14}px)` } : { left: `${x + 14}px`, right: "auto" },
      py > m.box[1] / 2 ? { top: "auto", bottom: `calc(100% - ${y}px)` } : { top: `${y}px`, bottom: "auto" });
  }
  /* Where the second map begins, measured when sizes change and not when the pointer moves */
  let offset = [0, 0];
  new ResizeObserver(() => { offset = [second.element.offsetLeft - map.element.offsetLeft, second.element.offsetTop - map.element.offsetTop]; }).observe(second.element);
  scheme.addEventListener("change", () => { paint(); if (state.chosen >= 0) choose(state.chosen); });

  for (const m of maps) m.reshape();
  await recall();
  requestAnimationFrame(() => setTimeout(() => { performance.mark("drawn"); root.dataset.ready = ""; }));
  return { pool, map, second, state, kinds, address, picture };
}
const page = start();
