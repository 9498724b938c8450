// What is wrong with a page as it stands, in words; gallery.rs asks. Nothing here waits for a timer or an
// event: where script is off, none comes.

globalThis.inspect = (() => {
  const shorten = (text) => text.replace(/\s+/g, " ").trim().slice(0, 60);
  const name = (element) => `${element.cloneNode().outerHTML.slice(0, 120)} “${shorten(element.textContent)}”`;
  // Words for the ear only, and the skip link until it has the focus, stand nowhere.
  const seen = (element) => element.checkVisibility({ visibilityProperty: true }) && !element.closest(".vh, .skip");
  const isInline = (element) => ["inline", "contents"].includes(getComputedStyle(element).display);

  function* textNodes() {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      if (walker.currentNode.data.trim() && seen(walker.currentNode.parentElement)) yield walker.currentNode;
    }
  }

  const linesOf = (node) => {
    const range = document.createRange();
    range.selectNodeContents(node);
    return [...range.getClientRects()].filter((line) => line.width > 0);
  };

  const blocksAround = (node) => {
    const blocks = [];
    for (let at = node.parentElement; at; at = at.parentElement) if (!isInline(at)) blocks.push(at);
    return blocks;
  };

  // What a field shows of its text, as if it were full.
  const insideOf = (input) => {
    const { left, right, top, bottom } = input.getBoundingClientRect();
    const { paddingLeft, paddingRight } = getComputedStyle(input);
    return { left: left + parseFloat(paddingLeft), right: right - parseFloat(paddingRight), top, bottom };
  };

  /** Nothing wider than its place, cut off, sticking out, or over something else. */
  const fit = () => {
    const wrong = [];
    const { scrollWidth, clientWidth } = document.documentElement;
    if (scrollWidth > clientWidth) wrong.push(`it is ${scrollWidth} px wide in a window of ${clientWidth}`);

    for (const element of document.body.querySelectorAll("*")) {
      if (element.closest("svg, iframe, input, select") || isInline(element) || !seen(element)) continue;
      const over = element.scrollWidth - element.clientWidth;
      if (element.clientWidth > 0 && over > 1) wrong.push(`its text is ${over} px wider than ${name(element)}`);
    }

    const boxes = [...document.querySelectorAll("input")]
      .filter((input) => seen(input) && !["checkbox", "radio"].includes(input.type))
      .map((input) => [insideOf(input), input]);
    for (const node of textNodes()) {
      const lines = linesOf(node);
      boxes.push(...lines.map((line) => [line, node]));
      const around = blocksAround(node).find((block) => {
        const { left, right } = block.getBoundingClientRect();
        return lines.some((line) => line.left < left - 1 || line.right > right + 1);
      });
      if (around) wrong.push(`“${shorten(node.data)}” sticks out of ${name(around)}`);
    }
    boxes.forEach(([a, one], index) => {
      for (const [b, other] of boxes.slice(index + 1)) {
        const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        // The lines of a heading stand closer than their letters are high.
        const low = Math.min(a.bottom - a.top, b.bottom - b.top) / 2;
        const called = (it) => (it.nodeType === Node.TEXT_NODE ? `“${shorten(it.data)}”` : name(it));
        if (one !== other && wide > 2 && high > low) wrong.push(`${called(one)} and ${called(other)} overlap by ${wide.toFixed()} px`);
      }
    });
    return wrong;
  };

  /** All that can be pressed is big enough for a thumb; links in running text may be smaller. */
  const targets = () => {
    const all = "a, button, summary, select, .check, input:not([type=hidden], [type=checkbox], [type=radio])";
    return [...document.querySelectorAll(all)]
      .filter((element) => element.checkVisibility() && !isInline(element))
      .map((element) => [element, element.getBoundingClientRect()])
      .filter(([, { width, height }]) => width < 44 || height < 44)
      .map(([element, { width, height }]) => `${name(element)} is ${width} by ${height} px, less than 44`);
  };

  /** The ground is as light or dark as was asked. */
  const ground = (dark) => {
    const colour = getComputedStyle(document.documentElement).backgroundColor;
    const [red] = colour.match(/\d+/g);
    return red < 128 === dark ? [] : [`its ground is ${colour}`];
  };

  // Longer by 40 %: half of that within the longest word, half as words of their own.
  const longer = (text) => {
    const more = Math.ceil(text.trim().length * 0.4);
    const longest = text.split(/\s+/).reduce((long, word) => (word.length > long.length ? word : long));
    const beside = text.trim().slice(0, Math.max(Math.floor(more / 2) - 1, 0)).trim();
    const within = longest.slice(0, more - beside.length);
    return `${text.replace(longest, () => longest + within)}${beside && ` ${beside}`}`;
  };

  const inLongerWords = () => {
    const before = [...textNodes()].filter((node) => !node.parentElement.closest("code, pre")).map((node) => [node, node.data]);
    const labels = [...document.querySelectorAll("[aria-label]")].map((element) => [element, element.ariaLabel]);
    for (const [node, text] of before) node.data = longer(text);
    for (const [element, text] of labels) element.ariaLabel = longer(text);
    return () => {
      for (const [node, text] of before) node.data = text;
      for (const [element, text] of labels) element.ariaLabel = text;
    };
  };

  const fromRightToLeft = () => {
    const { dir } = document.documentElement;
    document.documentElement.dir = "rtl";
    return () => (document.documentElement.dir = dir);
  };

  // WCAG 1.4.12
  const spacedOut = () => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(`
      * { line-height: 1.5 !important; letter-spacing: .12em !important; word-spacing: .16em !important }
      p { margin-block-end: 2em !important }`);
    document.adoptedStyleSheets.push(sheet);
    return () => (document.adoptedStyleSheets = []);
  };

  /** The same page as others have it: in a longer language, from right to left, with the spacing they need. */
  const stretched = () => {
    const ways = { "in longer words": [inLongerWords], "from right to left": [fromRightToLeft], "spaced out": [spacedOut] };
    ways["in longer words from right to left"] = [inLongerWords, fromRightToLeft];
    return Object.entries(ways).flatMap(([way, changes]) => {
      const undo = changes.map((change) => change());
      const wrong = fit().map((words) => `${way}, ${words}`);
      for (const back of undo.reverse()) back();
      return wrong;
    });
  };

  /** axe-core's verdict, as a promise. In dark it looks at colours only: nothing else differs from light (`look.rs`). */
  const verdict = async (dark) => {
    const tags = ["wcag2a", "wcag2aa", "wcag2aaa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
    const colours = axe.getRules(tags).filter((rule) => rule.tags.includes("cat.color")).map((rule) => rule.ruleId);
    const runOnly = dark ? { type: "rule", values: colours } : { type: "tag", values: tags };
    const { violations } = await axe.run({ runOnly, iframes: false, preload: false, resultTypes: ["violations"] });
    const words = ({ id, help }, { target, failureSummary }) => `axe ${id} (${help}) at ${target}: ${failureSummary}`;
    return violations.flatMap((rule) => rule.nodes.map((node) => words(rule, node).replace(/\s+/g, " ")));
  };

  return { fit, targets, ground, stretched, verdict };
})();
