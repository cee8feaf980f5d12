/** The notebook around the panel, as far as the front end gives access to it (JupyterLab, Notebook 7). */

const PYTHON = /^\s*(i?python3?|i?py3?)?\s*$/i; // what the kernel runs, as in cell/formats.py
const INDEX = "data-windowed-list-index"; // of a cell in the notebook

/** The notebook's cells. @param {Store} store */
const notebookCells = (store) => store.model.widget_manager?.context?.model?.sharedModel;

/** Whether code in this language can go to a new cell. @param {Store} store */
export const isInsertable = (store, language = "") => Boolean(notebookCells(store)) && PYTHON.test(language);

/** The index of the cell around an element. @param {Element | null | undefined} inside */
export const indexOf = (inside) => Number(inside?.closest(`[${INDEX}]`)?.getAttribute(INDEX) ?? NaN);

/** The id of the cell around an element. @param {Store} store @param {Element} inside @returns {string | undefined} */
export const cellIdOf = (store, inside) => notebookCells(store)?.cells?.[indexOf(inside)]?.id;

/**
 * Where the user works in the notebook, besides the panel: new cells go below it, and Escape leads back to it.
 * `home` is the element in the output of the cell that shows the panel.
 * @param {Store} store @param {HTMLElement} node @param {HTMLElement} home
 */
export function workplace(store, node, home) {
	let cell = ""; // the id of the last active cell, if it is not that of the panel
	/** @type {HTMLElement | null} */ let left = null; // had the focus before the panel

	/** @type {ParentNode} */ let notebook = document; // found once: a cell that is scrolled out of view may leave the page
	const root = () => (notebook = home.closest(".jp-Notebook") ?? notebook);
	const own = () => /** @type {HTMLElement | null} */ (home.closest(".jp-Cell"));
	const cells = () => /** @type {{id: string}[]} */ (notebookCells(store)?.cells ?? []);

	/** Remember where the user works; called before the panel gets the focus. */
	const leave = () => {
		const from = document.activeElement;
		if (node.contains(from)) return;
		const active = root().querySelector(".jp-Cell.jp-mod-active");
		if (active && active !== own()) cell = cells()[indexOf(active)]?.id ?? "";
		else if (active?.contains(from)) cell = "";
		left = from instanceof HTMLElement && from !== document.body ? from : null;
	};

	/** Put the focus back. */
	const enter = () => {
		const at = cells().findIndex(({ id }) => id === cell);
		const node = left?.isConnected ? left : (cellNode(at) ?? own());
		if (node && node.tabIndex < 0 && !node.hasAttribute("tabindex")) node.tabIndex = -1;
		node?.focus();
	};

	/** @returns {HTMLElement | null} */
	const cellNode = (index = 0) => root().querySelector(`.jp-Cell[${INDEX}="${index}"]`);

	/** Insert code below the cell in which the user works, and select the new cell. */
	const insert = (source = "") => {
		const worked = cell ? cells().findIndex(({ id }) => id === cell) : -1;
		const at = 1 + (worked >= 0 ? worked : (indexOf(home) >= 0 ? indexOf(home) : cells().length - 1));
		notebookCells(store).insertCell(at, { cell_type: "code", source, metadata: {} });
		cell = cells()[at]?.id ?? "";
		store.notify("Inserted below.");
		requestAnimationFrame(() => requestAnimationFrame(() => select(at)));
	};

	/** The notebook makes the cell active that gets the focus. */
	const select = (index = 0) => {
		const fresh = cellNode(index);
		fresh?.focus({ preventScroll: true });
		fresh?.scrollIntoView({ block: "nearest" });
	};
	return { leave, enter, insert };
}
