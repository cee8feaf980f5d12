// What stands in the Markdown outputs of cell i: for each, its text and whatever an answer should not have brought in.
([i]) => {
    const tags = new Set(('P H1 H2 H3 H4 H5 H6 EM STRONG DEL CODE PRE SPAN UL OL LI BLOCKQUOTE ' +
        'TABLE THEAD TBODY TR TH TD HR BR A IMG INPUT').split(' '));
    const active = /^(A|IMG|SCRIPT|IFRAME|FORM|INPUT|BUTTON|STYLE|OBJECT|SVG)$/i;
    const allowed = {  // by attribute: what its value may be
        alt: /./, align: /^(left|center|right)$/, start: /^\d+$/, disabled: /^$/, checked: /^$/, type: /^checkbox$/,
        target: /^_(self|blank)$/, rel: /^noopener$/, 'data-jupyter-id': /./,
        href: /^(https?:\/\/[a-z0-9]|mailto:)/i,
        src: /^data:image\/(png|jpeg|gif|webp);base64,/,
        class: /^(language-[\w+#.-]+|numbering-entry|cm-[\w-]+|ͼ\w+| )*$/,
    };
    const unlike = element => {
        const formula = element.closest('mjx-container');
        if (formula ? active.test(element.tagName) : !tags.has(element.tagName)) return true;
        if (element.matches('a.jp-InternalAnchorLink')) return element.attributes.length > 4;  // JupyterLab's own ¶
        if (element.tagName === 'INPUT' && !element.disabled) return true;
        return [...element.attributes].some(({name, value}) => formula
            ? /^(on.*|href|id|src)$/i.test(name) || (name === 'style' && /url\(|position:\s*(fixed|absolute)/i.test(value))
            : !(name in allowed) || !(allowed[name].test(value) || value === ''));
    };
    const notebook = jupyterapp.shell.currentWidget.content;
    return [...notebook.widgets[i].node.querySelectorAll('.jp-RenderedMarkdown')].map(output => {
        const wrong = [...output.querySelectorAll('*')].filter(unlike).map(element => element.outerHTML.slice(0, 200));
        const end = [...output.children].at(-1);
        if (end?.tagName !== 'P' || !end.textContent.startsWith('THEEND')) wrong.push('swallowed: ' + end?.outerHTML);
        return {wrong, text: output.innerText};
    });
}
