// Examines the Markdown outputs of cell i, or of a converted page: returns for each its text and the elements that an
// answer must not contain.
([i]) => {
    const tags = new Set(('P H1 H2 H3 H4 H5 H6 EM STRONG DEL S CODE PRE SPAN UL OL LI BLOCKQUOTE ' +
        'TABLE THEAD TBODY TR TH TD HR BR A IMG INPUT SMALL DETAILS SUMMARY').split(' '));
    const active = /^(A|IMG|SCRIPT|IFRAME|FORM|INPUT|BUTTON|STYLE|OBJECT|SVG)$/i;
    const unseen = /[\p{Bidi_Control}\p{Unassigned}\0-\x08\x0b-\x1f\x7f-\x9f\xad\u200b\u2060-\u206f\u{e0000}-\u{e0fff}]/u;
    const converted = i === null;
    const allowed = {  // the allowed values of each attribute
        alt: /./, align: /^(left|center|right)$/, start: /^\d+$/, disabled: /^(disabled)?$/, checked: /^$/, type: /^checkbox$/,
        target: /^_(self|blank)$/, rel: /^noopener$/, 'data-jupyter-id': /./, open: /^$/,
        href: /^(https?:\/\/[a-z0-9]|mailto:)/i,
        src: /^data:image\/(png|jpeg|gif|webp);base64,/,
        class: /^(language-[\w+#.-]+|numbering-entry|cm-[\w-]+|ͼ\w+| )*$/,
    };
    if (converted) Object.assign(allowed, {  // nbconvert adds these
        href: /^(https?:\/\/|mailto:)/i,
        class: /^(task-list-item(-checkbox)?|language-[\w+#.-]+|highlight|[a-z]{1,3}\d?| )*$/,
        style: /^(text-align:(left|center|right)|line-height: 125%;)$/,
    });
    const ours = {DETAILS: /^margin-bottom: ?0\.4em;?$/, DIV: /^margin: ?0\.4em 0;?$/};  // folds and notes of steps
    const own = element => converted
        ? element.matches('a.anchor-link, div.highlight') : element.matches('a.jp-InternalAnchorLink');
    const unlike = element => {
        const formula = element.closest('mjx-container');
        if (own(element)) return element.attributes.length > 4;  // an element of the front end
        const known = tags.has(element.tagName) || ours[element.tagName]?.test(element.getAttribute('style'));
        if (formula ? active.test(element.tagName) : !known) return true;
        if (element.tagName === 'INPUT' && !element.disabled) return true;
        if (!converted && /^https?:/.test(element.getAttribute('href') ?? '') && element.rel !== 'noopener') return true;
        return [...element.attributes].some(({name, value}) => formula
            ? /^(on.*|href|id|src)$/i.test(name) || (name === 'style' && /url\(|position:\s*(fixed|absolute)/i.test(value))
            : !(converted && name === 'id' && /^H\d$/.test(element.tagName))
                && !(name === 'style' && ours[element.tagName]?.test(value))
                && (!(name in allowed) || !(allowed[name].test(value) || value === '')));
    };
    const root = converted ? document : jupyterapp.shell.currentWidget.content.widgets[i].node;
    return [...root.querySelectorAll('.jp-RenderedMarkdown')].map(output => {
        const wrong = [...output.querySelectorAll('*')].filter(unlike).map(element => element.outerHTML.slice(0, 200));
        const end = [...output.children].at(-1);
        if (end?.tagName !== 'P' || !end.textContent.startsWith('THEEND')) wrong.push('swallowed: ' + end?.outerHTML);
        const text = output.innerText;
        if (unseen.test(text)) wrong.push('unseen: ' + JSON.stringify(unseen.exec(text)));
        return {wrong, text};
    });
}
