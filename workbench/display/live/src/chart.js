// The live chart, as anywidget wants it: one store for each model, one view for each place that shows it.

import { Store } from "./store.js";
import { View } from "./view.js";

export default () => {
  let store;
  return {
    initialize({ model }) {
      store = new Store(model);
    },
    render({ el }) {
      const view = new View(store, el);
      store.join(view);
      return () => {
        store.leave(view);
        view.remove();
      };
    },
  };
};
