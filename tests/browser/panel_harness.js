// The kernel's side of a panel as the page sees it: a model with the interface of anywidget's proxy.
(() => {
    performance.now = () => 0; // painting seems to take no time, so no paint is delayed
    const heard = {}, ticks = new Set(), frame = requestAnimationFrame.bind(window), began = Date.now();
    let seq = 0, lastFrame = 0, passed = 0;
    // The time of frames is that of the test: `step` milliseconds a frame, or with 0, what is added to `now`.
    window.requestAnimationFrame = callback => frame(at => {
        if (at !== lastFrame) kernel.now += kernel.step;
        lastFrame = at;
        callback(kernel.now);
    });
    Date.now = () => began + passed;
    window.setInterval = tick => (ticks.add(tick), tick); // only pass() calls them
    window.clearInterval = tick => ticks.delete(tick);
    const kernel = (window.kernel = {
        now: 0, step: 1000, sent: [], callbacks: {}, answers: {}, buffers: {}, client: '', cleanups: [], escaped: [], cells: null, auto: true,
        async load(source) {
            const url = URL.createObjectURL(new Blob([source], {type: 'text/javascript'}));
            kernel.module = (await import(url)).default;
            URL.revokeObjectURL(url);
            kernel.end = kernel.module.initialize({model: kernel.proxy()});
            kernel.view();
        },
        view() {
            const el = document.querySelector('main').appendChild(document.createElement('div'));
            kernel.cleanups.push(kernel.module.render({model: kernel.proxy(), el}));
        },
        layout: {},
        proxy: () => ({
            get: name => (name === 'layout' ? kernel.layout : undefined),
            set: () => undefined,
            save_changes: () => undefined,
            on: (name, callback) => (heard[name] ??= new Set()).add(callback),
            off: (name, callback) => heard[name]?.delete(callback),
            send: (...message) => kernel.hear(...message),
            widget_manager: kernel.manager,
        }),
        hear(content, callbacks, buffers = []) {
            kernel.sent.push(content);
            kernel.client = content.client;
            kernel.callbacks[content.id] = callbacks;
            kernel.buffers[content.id] = buffers;
            const answer = kernel.answers[content.type];
            if (answer) queueMicrotask(() => kernel.reply(content.id, typeof answer === 'function' ? answer(content) : answer));
        },
        tell: (message, buffers) => { for (const callback of heard['msg:custom'] ?? []) callback(message, buffers); },
        fire: name => { for (const callback of heard[name] ?? []) callback(); },
        say: (message, buffers) => kernel.tell({seq: ++seq, ...message}, buffers),
        skip: () => { seq += 1; },
        pass: seconds => { passed += 1000 * seconds; for (const tick of ticks) tick(); },
        get ticks() { return ticks.size; },
        reply: (id, fields = {}, buffers) => kernel.tell({type: 'reply', client: kernel.client, id, ok: !fields.error, ...fields}, buffers),
        status: (id, state) => kernel.callbacks[id].iopub.status({content: {execution_state: state}}),
        state({items, ...state}) {
            const hello = kernel.sent.findLast(request => request.type === 'hello');
            const order = items.map(item => item.id);
            kernel.say({type: 'state', client: kernel.client, order, ...state});
            kernel.say({type: 'items', order, items});
            if (hello) kernel.reply(hello.id);
        },
    });
    for (const name of ['keydown', 'keypress', 'keyup', 'paste', 'drop', 'contextmenu'])
        document.addEventListener(name, event => kernel.escaped.push(`${name} ${event.key ?? ''}`));
})();
