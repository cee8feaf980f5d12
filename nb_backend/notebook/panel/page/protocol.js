/**
 * What the kernel and the page send each other. This file has only types, which all modules of the page see.
 *
 * Protocol: a request is {id, client, type, ...} and gets one Reply. A broadcast goes to every page and has a number, `seq`.
 *
 * @typedef {{name: string, type: string, size: number, width: number, height: number, note?: string}} ImageInfo
 * @typedef {ImageInfo & {id: string, thumbnail: string}} Attached  an image of the draft
 * @typedef {HTMLImageElement | HTMLAudioElement} Shown  what loads its bytes by the request `picture`
 * @typedef {ImageInfo & {key: string, filled?: boolean}} Picture  an image of an item; the request `picture` returns its bytes. A `filled` one is the value of a {{ }} in the text
 * @typedef {ImageInfo & {key: string, cell: string, thumbnail: string}} Figure  an image that a cell shows
 * @typedef {{label: string, model: string}} Fix  a button that repairs a failed turn: another model, or with "" a key
 * @typedef {{id: string, role: string, content: string[], reasoning: string[], images: Picture[],
 *   status: "waiting" | "streaming" | "done" | "stopped" | "incomplete" | "failed", who: string, progress: string, error: string,
 *   time: number | null, can: string[], source: string, fixes?: Fix[], wait: number | null, silent?: number,
 *   version?: [number, number] | null, fold?: string, ask?: Ask | null}} Item  content and reasoning are blocks of HTML;
 *   `wait`: seconds until the request is sent again; `silent`: seconds since something arrived, in a whole item; `version`: which
 *   one of how many. Items with the same `fold` are a line (role "removal", its text is `who`) and the messages that it opens
 * @typedef {{id: string, step: string, tool: string, always: string, code: string[]}} Ask  whether a call may run. The request `consent` sends `id` and
 *   `step` back, once; `code` is all arguments as blocks of HTML, `always` the label of a box
 * @typedef {{name: string, about: string, on: boolean, asks: boolean}} Tool
 * @typedef {{id: string, text: string}} Removal  the last one that can be undone
 * @typedef {{model: string, system: string, temperature: number | null, max_tokens: number | null,
 *   effort: string | null, enter_sends: boolean, vision: boolean | null, vision_model?: string, server: string,
 *   tools?: string[]}} Settings  vision_model: one that accepts images if this one does not
 * @typedef {{name: string, provider: string, label: string, vision: boolean | null, service: string}} Model  service: "" for the chat's own server
 * @typedef {{id: string, text: string, images: Attached[], error: string}} Queued  a prompt that waits
 * @typedef {{prompts: Queued[], waits: "answer" | "cell" | "stopped" | "failed" | "error"}} Queue  the last three wait for the request `resume`
 * @typedef {{name: string, title: string, length: string, time: number | null, found: string[] | null}} ChatEntry  found: before, match, after
 * @typedef {{type: "state", client: string, chat: string, title: string, order: string[], settings: Settings, queue?: Queue, removal?: Removal | null,
 *   draft: string, images: Attached[], limits: {image: number, piece: number}, subshells: boolean,
 *   finished: boolean, panel: string, transcript: number | null, record?: number, restore: boolean}} State  answers the request `hello`; the items follow
 * @typedef {{type: "items", order: string[], items: Item[]}} Items  new items, or whole replacements
 * @typedef {{type: "text", item: string, part: "content" | "reasoning", from: number, keep: number,
 *   blocks: string[]}} TextChange  block `from` keeps `keep` UTF-16 units and gets blocks[0]; the other blocks replace the rest
 * @typedef {{type: "meta", item: string, meta: Partial<Item>}} MetaChange
 * @typedef {{type: "settings", chat: string, title: string, settings: Settings, queue?: Queue, removal?: Removal | null, images?: Attached[],
 *   draft?: string}} SettingsChange
 * @typedef {{type: "transcript", panel: string, version: number, record?: number, finished: boolean}} TranscriptVersion  the versions of transcript and record that the notebook must hold
 * @typedef {{seq: number} & (State | Items | TextChange | MetaChange | SettingsChange | TranscriptVersion)} Broadcast
 * @typedef {{type: "reply", client: string, id: string, ok: boolean, error?: string, [more: string]: any}} Reply
 * @typedef {{type: "piece", client: string, id: string, piece: number, pieces: number}} Piece  a chunk of the bytes that a request asked for
 *
 * @typedef {{get: (name: string) => any, on: Listen, off: Listen, widget_manager?: any,
 *   send: (content: object, callbacks?: object, buffers?: ArrayBuffer[]) => void}} AnyModel  anywidget's model
 * @typedef {(name: string, listener: (...values: any[]) => void) => void} Listen
 * @typedef {import("./store.js").Store} Store
 * @typedef {import("./store.js").Upload} Upload
 * @typedef {import("./store.js").View} View
 * @typedef {import("./store.js").Action} Action
 * @typedef {import("./store.js").Notice} Notice
 */
