/** The panel beside the notebook: in a pane of JupyterLab, elsewhere in a pane of this page. */

import { button, h, icon, on, relabel } from "./dom.js";
import { cellIdOf } from "./notebook.js";

const MIN = 280; // pixels
const HEIR = 3000; // milliseconds for which a pane waits for the panel of the cell's next run
const CLOSE = "nbb-close"; // tells a pane of the page that another one takes its place
/** @typedef {{host: HTMLElement, close: () => void, closed: () => void, timer?: number}} Pane  timer: closes it if no heir comes */

/** The panes that wait for an heir, by cell; a run of a cell makes a new instance of this module. */
const orphans = () => /** @type {Map<string, Pane>} */ (/** @type {any} */ (globalThis)[Symbol.for("nb_backend.panes")] ??= new Map());

/** The dock panel of JupyterLab, if it can show two things side by side. @param {Store} store @param {Element} home */
const dockPanel = (store, home) => {
	const { rendermime, context } = store.model.widget_manager ?? {};
	return rendermime?.createRenderer && context?.addSibling && home.closest('.lm-DockPanel[data-mode="multiple-document"] .jp-NotebookPanel');
};

/** Whether there is a place beside the notebook. @param {Store} store @param {Element} home */
const hasPlace = (store, home) => Boolean(dockPanel(store, home) ?? (home.closest(".jp-Notebook") && document.querySelector("#main")));

/** Open a pane of JupyterLab at the right of the notebook. A renderer is a widget of Lumino, which a page cannot make otherwise. @param {Store} store @param {Pane} pane @param {Element} beside */
function openInLab(store, pane, beside) {
	const { rendermime, context } = store.model.widget_manager;
	const widget = rendermime.createRenderer("text/plain");
	widget.removeClass("jp-RenderedText");
	widget.id = `nbb-pane-${Math.random().toString(36).slice(2)}`;
	widget.title.label = "Chat";
	widget.title.closable = true;
	widget.node.replaceChildren(pane.host);
	context.addSibling(widget, { mode: "split-right", ref: beside.id });
	widget.disposed.connect(() => pane.closed());
	return () => widget.dispose();
}

/** Open a pane at the right of the page, which gets narrower. @param {Pane} pane */
function openInPage(pane) {
	const main = /** @type {HTMLElement} */ (document.querySelector("#main"));
	const sash = h("div.sash", { role: "separator", tabindex: 0, label: "Width of the chat", "aria-orientation": "vertical" });
	let width = Math.min(440, innerWidth * 0.4);
	const size = (wanted = width) => {
		width = Math.max(MIN, Math.min(wanted, innerWidth - MIN));
		const covers = innerWidth < 2 * MIN + 100; // no room for both
		pane.host.style.width = covers ? "100%" : `${width}px`;
		main.style.right = covers ? "" : `${width}px`;
		for (const [name, value] of Object.entries({ now: width, min: MIN, max: innerWidth - MIN })) sash.setAttribute(`aria-value${name}`, String(Math.round(value)));
	};
	const resized = () => size();
	const change = (wanted = 0) => {
		size(wanted);
		dispatchEvent(new Event("resize")); // the front end lays itself out
	};
	on(sash, "pointerdown", ({ pointerId }) => sash.setPointerCapture(pointerId));
	on(sash, "pointermove", ({ pointerId, clientX }) => sash.hasPointerCapture(pointerId) && change(innerWidth - clientX));
	on(sash, "keydown", ({ key }) => {
		const step = { ArrowLeft: 32, ArrowRight: -32 }[key];
		if (step) change(width + step);
	});
	for (const other of document.querySelectorAll(".nbb-own")) other.dispatchEvent(new Event(CLOSE));
	pane.host.classList.add("nbb-own");
	pane.host.addEventListener(CLOSE, () => pane.close());
	pane.host.prepend(sash);
	document.body.append(pane.host);
	addEventListener("resize", resized);
	change(width);
	return () => {
		removeEventListener("resize", resized);
		pane.host.remove();
		main.style.right = "";
		dispatchEvent(new Event("resize"));
		pane.closed();
	};
}

/**
 * A button that opens the panel beside the notebook and brings it back. A re-run of the cell keeps the pane.
 * @param {Store} store @param {HTMLElement} node  the panel @param {HTMLElement} home  its place in the cell @param {() => void} focus
 */
export function dock(store, node, home, focus) {
	/** @type {Pane | null} */ let pane = null;
	let key = "";
	let asked = false;
	const toggle = button("Open beside the notebook", "dock", () => (pane ? pane.close() : open(), focus()), "", { hidden: true });
	const here = h("button.back", { type: "button", click: () => (pane?.close(), focus()) }, "Show it here");
	const away = h("p.away", {}, icon("dock"), "The chat is open beside the notebook. ", here);

	/** Move the panel without losing the place in the messages. @param {() => void} act */
	const move = (act) => {
		const scroller = /** @type {HTMLElement} */ (node.querySelector(".nbb-scroller"));
		const { scrollTop } = scroller;
		act();
		scroller.scrollTop = scrollTop;
		relabel(toggle, pane ? "Back to the cell" : "Open beside the notebook");
	};
	const closed = () => {
		pane = null;
		away.remove();
		move(() => home.append(node));
	};
	/** @param {Pane} shown */
	const use = (shown) => {
		pane = shown;
		clearTimeout(shown.timer);
		shown.closed = closed;
		move(() => (shown.host.append(node), home.append(away)));
	};
	const open = () => {
		/** @type {Pane} */ const fresh = { host: h("div.pane"), close: () => undefined, closed };
		const beside = dockPanel(store, home);
		fresh.close = beside ? openInLab(store, fresh, beside) : openInPage(fresh);
		use(fresh);
	};
	const show = () => {
		if (asked || !home.isConnected) return;
		asked = true;
		toggle.hidden = !hasPlace(store, home);
		key = `${store.model.widget_manager?.context?.path}:${cellIdOf(store, home)}`;
		const left = orphans().get(key);
		orphans().delete(key);
		if (left?.host.isConnected) use(left); // else it was closed meanwhile
	};
	/** The panel ends: its pane waits for the panel of the next run. */
	const close = () => {
		away.remove();
		const left = pane;
		if (!left) return;
		left.closed = () => undefined;
		orphans().set(key, left);
		left.timer = setTimeout(() => {
			if (orphans().get(key) === left) orphans().delete(key), left.close();
		}, HEIR);
	};
	return { toggle, show, close };
}
