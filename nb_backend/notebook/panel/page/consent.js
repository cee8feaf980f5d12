/** The question whether a call of a tool may run. Only the buttons here answer it: nothing that a model or a tool says can. */

import { Blocks } from "./blocks.js";
import { button, composes, h, on } from "./dom.js";

const GUARD = 400; // milliseconds in which a press does nothing: it was meant for what stood here before
let count = 0;

/** What is read out, and the heading. @param {Ask} ask */
export const questionText = ({ tool }) => `Allow this call of ${tool}?`;

/** The question of an item, below its text. @param {Store} store @param {HTMLElement} text */
export function consentForm(store, text) {
	const node = h("div.ask", { role: "group", tabindex: -1 });
	let shown = "";

	/** @param {Ask} ask */
	const fill = ({ id, step, always, code }, heading = "") => {
		const blocks = new Blocks();
		blocks.show(code, store);
		const title = h("p.title", { id: `nbb-ask-${++count}`, dir: "auto" }, heading);
		const lasting = h("input", { type: "checkbox" });
		const reason = h("input", { type: "text", dir: "auto", maxlength: 2000, autocomplete: "off", label: "Reason for the model, if you refuse", placeholder: "Reason for the model, if you refuse" });
		const send = async (approve = false) => {
			if (allow.disabled) return;
			if (node.contains(document.activeElement)) node.focus(); // a disabled button loses the focus
			for (const one of [allow, refuse]) one.disabled = true;
			const reply = await store.attempt("consent", { question: id, step, approve, always: approve && lasting.checked, reason: reason.value });
			if (!reply) for (const one of [allow, refuse]) one.disabled = false;
		};
		const allow = button("Allow", "check", () => send(true), ".wide.main", { disabled: true, "aria-describedby": title.id });
		const refuse = button("Refuse", "close", () => send(false), ".wide.refuse", { disabled: true, "aria-describedby": title.id });
		setTimeout(() => [allow, refuse].forEach((one) => (one.disabled = false)), GUARD);
		on(reason, "keydown", (event) => {
			if (event.key === "Enter" && !composes(event)) event.preventDefault(), void send(false);
		});
		node.setAttribute("aria-labelledby", title.id);
		const nothing = code.length ? [] : [h("p", {}, "It has no arguments.")];
		node.replaceChildren(title, blocks.node, ...nothing, h("div.row", {}, allow, refuse, reason), h("label.check", {}, lasting, always));
	};

	/** Show a question or none. The focus is led to it unless the user is writing or works elsewhere. @param {Ask | null} [ask] */
	const show = (ask) => {
		if ((ask?.id ?? "") === shown) return;
		shown = ask?.id ?? "";
		node.remove(); // if it had the focus, the panel leads it on
		if (!ask) return;
		text.after(node);
		fill(ask, questionText(ask));
		requestAnimationFrame(() => {
			const { activeElement: focused } = document;
			const writes = focused instanceof HTMLTextAreaElement && focused.value;
			if (shown && !writes && node.closest(".nbb-panel")?.contains(focused) && !focused?.closest(".nbb-popup")) node.focus();
		});
	};
	return { node, show };
}
