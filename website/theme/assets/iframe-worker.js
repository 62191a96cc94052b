// A page that was opened as a file may start no worker, and the search is one: it runs in a hidden
// frame instead, whose messages are passed on here.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.waiting = []
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      this.frame.srcdoc = "<!doctype html>"
      this.frame.onload = () => {
        const inside = this.frame.contentWindow
        this.frame.onload = null
        const load = (source) => new Promise((resolve, reject) => {
          const script = inside.document.createElement("script")
          Object.assign(script, {src: source, onload: resolve, onerror: reject})
          inside.document.head.append(script)
        })
        inside.importScripts = (...sources) =>
          sources.reduce((before, source) => before.then(() => load(source)), Promise.resolve())
        inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", {data}))
        load(url).then(() => {
          this.inside = inside
          this.waiting.splice(0).forEach((data) => this.postMessage(data))
        })
      }
      document.head.append(this.frame)
    }
    postMessage(data) {
      if (this.inside) this.inside.dispatchEvent(new this.inside.MessageEvent("message", {data}))
      else this.waiting.push(data)
    }
    terminate() {
      this.frame.remove()
    }
  }
}
