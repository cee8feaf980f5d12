/** The picker of a model. */

import { button, composes, h, nameWithDetails, on, popup, relabel } from "./dom.js";

const DEFAULT = "Default model";
const MOST = 100; // models that are listed at once
const MOST_OF_A_SERVICE = 25; // while nothing is typed, so that one service does not hide the others

/** The models that fit what was typed: the one of exactly this name, then names that begin with it, then all others. @param {Model[]} models */
function fitting(models, typed = "") {
	const wanted = typed.toLowerCase();
	const rank = (/** @type {Model} */ { name, label, provider, service }) => {
		if (name === typed) return 0;
		const bare = service ? name.slice(name.indexOf(":") + 1) : name;
		const [own, ...all] = [wanted.includes(":") ? name : bare, label, provider, service].map((text) => text.toLowerCase());
		return own === wanted ? 1 : own.startsWith(wanted) ? 2 : own.includes(wanted) ? 3 : all.join(" ").includes(wanted) ? 4 : 5;
	};
	return models.filter((model) => rank(model) < 5).sort((one, other) => rank(one) - rank(other));
}

/** At most so many models of each service, in their order. @param {Model[]} models */
function fewOfEach(models) {
	/** @type {Record<string, number>} */
	const counts = {};
	return models.filter(({ service }) => (counts[service] = (counts[service] ?? 0) + 1) <= (service ? MOST_OF_A_SERVICE : MOST));
}

/** @param {string} text */
const sentence = (text) => (/[.?!…]$/.test(text) ? text : `${text}.`);

/** Choose a model: one from the server's list, or any name that the user types. @param {Store} store @param {() => void} focus */
export function modelPicker(store, focus) {
	/** @type {Model[] | null} */
	let models = null;
	let message = "";
	const opener = button("Model", "chevron", null, ".wide.model");
	const label = "Find a model, or type its name";
	const input = h("input", { type: "text", autofocus: true, label: label, placeholder: label, spellcheck: "false", input: () => draw() });
	const list = h("div");
	const status = h("p.word", { role: "status" });

	const close = () => {
		dialog.hidePopover();
		focus();
	};
	const choose = (model = "") => {
		close();
		return store.attempt("set", { model });
	};
	const choice = (/** @type {Model} */ { name, label, provider, vision, service }) =>
		h(
			"button.button.choice",
			{ type: "button", "aria-pressed": String(name === store.settings.model), click: () => void choose(name) },
			nameWithDetails(label || name, [vision && "accepts images", provider, input.value.trim() && service].filter(Boolean).join(" · ")),
		);
	/** What is offered, in order; Enter takes the first. */
	const offered = () => {
		const typed = input.value.trim();
		const fits = fitting(models ?? [], typed);
		const own = { name: typed, label: typed ? `“${typed}”` : DEFAULT, provider: "", vision: null, service: "" };
		return typed ? [...fits, ...(fits[0]?.name === typed ? [] : [own])] : [own, ...fits];
	};
	const draw = () => {
		const all = offered();
		const isTyped = Boolean(input.value.trim());
		const some = isTyped ? all : fewOfEach(all);
		const shown = isTyped && some.length > MOST ? [...some.slice(0, MOST), ...some.slice(-1)] : some; // the name as typed is the last
		const heading = (/** @type {Model} */ { service }, at = 0) => (isTyped || service === (shown[at - 1]?.service ?? "") ? [] : [h("p.group", {}, service)]);
		list.replaceChildren(...shown.flatMap((model, at) => [...heading(model, at), choice(model)]));
		list.firstElementChild?.classList.toggle("nbb-first", isTyped);
		const hidden = all.length - shown.length;
		status.textContent = [message, hidden > 0 && models ? `Type to find ${hidden} more.` : ""].filter(Boolean).join(" ");
	};
	const load = async (refresh = false) => {
		message = "Loading the list of models …";
		draw();
		await store.request("models", { refresh }).then(
			(reply) => {
				models = reply.models;
				message = [...(models?.some(({ service }) => !service) ? [] : ["The server does not list its models: type a name."]), ...(reply.notes ?? []).map(sentence)].join(" ");
			},
			(error) => (message = `The list could not be loaded: ${error.message}`),
		);
		draw();
	};
	const dialog = popup(opener, "dialog", "Model", () => {
		input.value = "";
		if (models) draw();
		else void load();
	});
	dialog.append(h("div.row", {}, input, button("Load again", "retry", () => load(true))), status, list);
	on(input, "keydown", (event) => {
		if (event.key !== "Enter" || composes(event)) return;
		event.preventDefault();
		if (input.value.trim()) void choose(offered()[0].name);
		else close();
	});
	on(dialog, "toggle", ({ newState }) => {
		if (newState === "closed" && [opener, document.body].includes(/** @type {any} */ (document.activeElement))) focus();
	});

	const show = () => relabel(opener, store.settings.model || DEFAULT);
	return { nodes: [opener, dialog], show };
}
