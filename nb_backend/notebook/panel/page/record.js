/**
 * What a panel keeps in the notebook, in front ends whose pages reach it (JupyterLab, Notebook 7): the transcript in the
 * outputs, and the record of its chats in the metadata of the cell. The outputs are removed when the cell runs, the
 * metadata stays, so a new kernel continues from there.
 */

const KEY = "nb_backend";
const WIDGETS = "application/vnd.jupyter.widget-state+json";
const STAND_IN = "This was a chat panel: run the cell to open it again.";
const CHUNK = 1 << 20; // bytes of a message

/** The cells of the notebook, none where the page does not reach it. @param {Store} store @returns {any[]} */
const cellsOf = (store) => [...(store.model.widget_manager?.context?.model?.cells ?? [])];

/** Whether the page reaches the notebook. @param {Store} store */
export const reachesNotebook = (store) => cellsOf(store).some((cell) => cell.getMetadata);

/** What an earlier panel has left in the metadata of a cell. @param {any} cell */
const savedIn = (cell) => cell.getMetadata?.(KEY);

/** The outputs that a panel shows, each with its mark; without a panel, those of all panels. @param {Store} store */
function* outputsOf(store, panel = "") {
	for (const cell of cellsOf(store))
		for (let at = 0; at < cell.outputs?.length; at++) {
			const mark = cell.outputs.get(at).metadata?.[KEY];
			if (panel ? mark?.panel === panel : mark?.panel) yield { cell, at, mark };
		}
}

/** The cells that show a panel. @param {Store} store */
const cellsOfPanel = (store, panel = "") => [...new Set([...outputsOf(store, panel)].map(({ cell }) => cell))];

/** Send the kernel the records in the notebook: that of this cell, else those of other cells with the same chat. @param {Store} store */
export async function restoreRecords(store, panel = "") {
	const cells = cellsOfPanel(store, panel);
	let records = cells.map(savedIn).filter((saved) => saved?.chats);
	const own = records.length > 0;
	if (!own) records = cellsOf(store).map(savedIn).filter((saved) => saved?.chats?.[store.chat]);
	const data = new TextEncoder().encode(records.length ? JSON.stringify(records) : "");
	const pieces = Math.ceil(data.length / CHUNK);
	/** @type {any} */
	let reply = {};
	try {
		for (let at = 0; at === 0 || at < pieces; at++) {
			const chunk = data.slice(at * CHUNK, (at + 1) * CHUNK);
			reply = await store.request("restore", { pieces, own }, [chunk.buffer]);
		}
	} catch (error) {
		if (store.alive) keepUnread(cells);
		return store.fail(/** @type {Error} */ (error));
	}
	const { turns = 0, time = 0, lost = 0, unread = false, earlier = false } = reply;
	const date = time ? `, the last of ${new Date(time).toLocaleString([], { dateStyle: "medium", timeStyle: "short" })}` : "";
	const without = lost ? ` Too large for the notebook, so not continued: ${lost} attachment${lost > 1 ? "s" : ""}.` : "";
	if (turns) store.notify(`Continued from the transcript in this notebook: ${turns} turn${turns > 1 ? "s" : ""}${date}.${without}`);
	else if (earlier) store.notify("The transcript of an earlier version is kept below; the chat cannot continue it.", "info", [], () => !store.order.length);
	else if (unread) store.notify("A conversation from before the kernel started cannot be continued here: this front end does not show the panel its notebook.");
}

/** Put aside the record that the kernel cannot read, so that it is not overwritten. @param {any[]} cells */
function keepUnread(cells) {
	for (const cell of cells) {
		const saved = savedIn(cell);
		if (saved?.chats) cell.setMetadata(KEY, { unread: [...(saved.unread ?? []), saved] });
	}
}

/** Write transcript and record into the notebook. The kernel's own updates do not reach the outputs in a reloaded page. @param {Store} store */
export async function saveTranscript(store, { panel = "", version = 0, record: recordVersion = 0, finished = false }) {
	const old = [...outputsOf(store, panel)].filter(({ mark }) => mark.version < version && (finished || mark.output !== "panel"));
	const text = old.length && (await new Blob((await store.request("transcript")).parts).text());
	for (const { cell, at, mark } of old) {
		const data = text && finished === (mark.output === "panel") ? { "text/markdown": text, "text/plain": text } : {};
		cell.outputs.set(at, { ...cell.outputs.get(at).toJSON(), data, metadata: { [KEY]: { ...mark, version } } });
	}
	const cells = cellsOfPanel(store, panel).filter((cell) => {
		const saved = savedIn(cell);
		return cell.setMetadata && !(saved?.panel === panel && saved.version >= recordVersion);
	});
	if (!cells.length) return;
	const reply = await store.request("record");
	const record = JSON.parse(await new Blob(reply.parts).text());
	for (const cell of cells) {
		const { unread } = savedIn(cell) ?? {};
		const saved = { ...(record.chats && { ...record, panel, version: reply.version }), ...(unread && { unread }) };
		if (saved.chats || unread) cell.setMetadata(KEY, saved);
		else cell.deleteMetadata(KEY);
	}
}

/**
 * Leave in the notebook, in the format of ipywidgets, a widget that says what stood there. A front end shows it instead
 * of "Error displaying widget" when the notebook is opened without the kernel of this panel. @param {Store} store
 */
export function leaveStandIn(store, panel = "") {
	const notebook = store.model.widget_manager?.context?.model;
	if (!notebook?.setMetadata || !cellsOfPanel(store, panel).length) return;
	const saved = notebook.getMetadata("widgets") ?? {};
	const { state = {}, ...more } = saved[WIDGETS] ?? { version_major: 2, version_minor: 0 };
	if (state[panel]) return;
	const used = new Set([...outputsOf(store)].map(({ mark }) => mark.panel));
	const kept = Object.entries(state).filter(([id, { state }]) => state?.value !== STAND_IN || used.has(id));
	const made = { model_module: "@jupyter-widgets/controls", model_module_version: "2.0.0", model_name: "HTMLModel", state: { value: STAND_IN } };
	notebook.setMetadata("widgets", { ...saved, [WIDGETS]: { ...more, state: { ...Object.fromEntries(kept), [panel]: made } } });
}

/** Fold the saved transcript below a view, which shows the same, until the view is gone. Undefined: it is not in the page yet. @param {HTMLElement} node */
export function foldTranscript(node) {
	const own = node.closest(".jp-OutputArea-child");
	const area = own?.parentElement;
	if (!own || !area) return undefined;
	/** @returns {HTMLDetailsElement[]} */
	const saved = (which = "") => [...area.querySelectorAll(`:scope > :not(:has(.nbb-panel)) details.nbb-saved${which}`)].map((one) => /** @type {any} */ (one));
	const fold = () => {
		for (const child of area.children) if (child !== own) observer.observe(child, { childList: true, subtree: true });
		for (const one of saved(":not([data-folded])")) (one.open = false), (one.dataset.folded = "");
	};
	const observer = new MutationObserver(fold);
	observer.observe(area, { childList: true });
	fold();
	return () => {
		observer.disconnect();
		for (const one of saved()) one.open = true;
	};
}
