// What the test asks of JupyterLab, in the page: `lesson` speaks to the open notebook's own model.
window.lesson = {
  get panel() {
    return window.jupyterapp.shell.currentWidget;
  },

  async ready() {
    while (!window.jupyterapp?.shell.currentWidget?.context) await new Promise(requestAnimationFrame);
    await this.panel.context.ready;
    await this.panel.sessionContext.ready;
    await this.panel.sessionContext.session.kernel.info;
  },

  runAll: () => window.jupyterapp.commands.execute("notebook:run-all-cells"),

  save: () => window.jupyterapp.commands.execute("docmanager:save"),

  cells() {
    return this.panel.content.model.toJSON().cells;
  },

  async show(index) {
    this.panel.content.activeCellIndex = index;
    await this.panel.content.scrollToItem(index, "center");
  },
};
