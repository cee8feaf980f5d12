/**
 * The page's side of ChatPanel: it shows the blocks of safe HTML that the kernel renders, and sends requests.
 * All views of a model share one Store. A view is a panel with a head, a transcript and a composer.
 * `widget.py` joins the modules of `page/` and this one, because anywidget loads one module without imports.
 */

import { Store } from "./page/store.js";
import { panel } from "./page/view.js";

/** @type {Map<unknown, Store>} */
const stores = new Map();

/** initialize and render get different proxies of one model, but the same layout. @param {AnyModel} model */
const identity = (model) => model.get("layout") ?? model;

/** @param {{model: AnyModel}} context */
function initialize({ model }) {
	const store = new Store(model);
	stores.set(identity(model), store);
	return () => {
		stores.delete(identity(model));
		store.close();
	};
}

/** @param {{model: AnyModel, el: HTMLElement}} context */
function render({ model, el }) {
	if (!stores.has(identity(model))) initialize({ model });
	return panel(/** @type {Store} */ (stores.get(identity(model))), el).close;
}

export default { initialize, render };
