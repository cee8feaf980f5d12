/** Files that become images of the draft: checked, and sent to the kernel in chunks. */

import { formatSize } from "./dom.js";

const OPEN_CHUNKS = 4; // requests of an upload that may wait for a reply
let uploadCount = 0;

/** Attach files, in their order; a note lists those that cannot be attached. The kernel looks into those whose type the browser does not know (HEIC). @param {Store} store @param {Iterable<File>} files */
export function addFiles(store, files) {
	const wrong = [];
	const most = store.limits.image;
	for (const file of files) {
		if (file.type && !file.type.startsWith("image/")) wrong.push(`${file.name} is not an image.`);
		else if (!file.size) wrong.push(`${file.name} is empty.`);
		else if (file.size > most) wrong.push(`${file.name} is too large: ${formatSize(file.size)}, and the limit is ${formatSize(most)}.`);
		else enqueueUpload(store, file);
	}
	store.notify(wrong.join(" "), "error", [], untilRemoval(store));
}

/** A note about an upload applies until an image is removed. @param {Store} store */
function untilRemoval(store) {
	const { removals } = store;
	return () => store.removals === removals;
}

/** Upload a file after those before it, so that images keep their order. @param {Store} store @param {File} file */
function enqueueUpload(store, file) {
	const url = URL.createObjectURL(file);
	const upload = { name: file.name, size: file.size, url, sent: 0, stopped: false };
	store.previews.push(url);
	store.uploads = [...store.uploads, upload];
	store.uploading = store.uploading.then(() => uploadFile(store, file, upload));
}

/** @param {Store} store @param {File} file @param {Upload} upload */
async function uploadFile(store, file, upload) {
	try {
		const image = await sendChunks(store, file, upload);
		if (upload.stopped) image && void store.attempt("remove", { image: image.id });
		else store.attached({ ...image, thumbnail: image.type === file.type ? upload.url : image.thumbnail }); // no browser shows a TIFF
	} catch (error) {
		const again = { label: "Retry", act: () => addFiles(store, [file]) };
		if (!upload.stopped) store.notify(`${file.name}: ${/** @type {Error} */ (error).message}`, "error", again, untilRemoval(store));
	}
	cancelUpload(store, upload);
}

/** Send a file in chunks. @param {Store} store @param {File} file @param {Upload} upload */
async function sendChunks(store, file, upload) {
	const { piece: step } = store.limits;
	const pieces = Math.ceil(file.size / step);
	const fields = { upload: `upload${++uploadCount}`, name: file.name, size: file.size, pieces };
	/** @type {Set<Promise<void>>} */
	const open = new Set();
	/** @type {any} */
	let image;
	for (let piece = 0; piece < pieces && !upload.stopped; piece++) {
		const data = await file.slice(piece * step, (piece + 1) * step).arrayBuffer();
		if (open.size >= OPEN_CHUNKS) await Promise.race(open);
		const sent = store.request("upload", { ...fields, piece }, [data]).then((reply) => {
			open.delete(sent);
			image = reply.image ?? image;
			upload.sent += data.byteLength;
		});
		sent.catch(() => undefined); // its error is reported by the await below
		open.add(sent);
	}
	await Promise.all(open);
	return image;
}

/** @param {Store} store @param {Upload} upload */
export function cancelUpload(store, upload) {
	upload.stopped = true;
	store.uploads = store.uploads.filter((other) => other !== upload);
	store.changed();
}
