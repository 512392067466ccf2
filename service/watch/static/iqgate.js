// Keeps a page current: listens to the gate, and asks for the page again when something changed.
"use strict";
(() => {
  const LOST_AFTER_MS = 3000; // of a broken connection: a restart of the gate is not worth a word
  const SILENT_AFTER_MS = 12000; // of silence on one that looks whole; the gate speaks every 5 s
  const RETRY_MS = 2000;
  const REFRESH_MS = 60000; // so that what has grown old is shown as old
  const events = document.body.dataset.events;
  const version = document.body.dataset.version;
  const link = document.getElementById("link");
  const lost = document.getElementById("lost");
  const lostText = document.getElementById("lost-text");
  const sound = document.getElementById("sound");
  const live = () => document.getElementById("live");
  let source = null;
  let heardAt = performance.now();
  let brokenAt = performance.now(); // null while connected
  let aheadMs = Number(live().dataset.at) * 1000 - Date.now(); // the gate's clock against ours
  let loading = false;
  let wanted = false;
  let loadedAt = performance.now();
  let alarmed = live().dataset.alarm || "";

  const gateNow = () => (Date.now() + aheadMs) / 1000;
  const clock = (at) => new Date(at * 1000).toLocaleTimeString("en-GB");

  function duration(seconds) {
    const whole = Math.max(0, Math.floor(seconds));
    if (whole >= 86400) return `${Math.floor(whole / 86400)} d`;
    if (whole >= 3600) return `${Math.floor(whole / 3600)} h`;
    if (whole >= 60) return `${Math.floor(whole / 60)} min`;
    return `${whole} s`;
  }

  function listen() {
    if (source) source.close();
    source = new EventSource(events);
    for (const name of ["hello", "changed", "beat"]) {
      source.addEventListener(name, (event) => heard(name, JSON.parse(event.data)));
    }
    source.addEventListener("error", () => {
      if (brokenAt === null) brokenAt = performance.now();
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, RETRY_MS);
    });
  }

  function heard(name, told) {
    heardAt = performance.now();
    brokenAt = null;
    aheadMs = told.at * 1000 - Date.now();
    if (told.version !== version) location.reload();
    if (name !== "beat") load();
    tick();
  }

  // One request at a time; a change meanwhile asks once more.
  async function load() {
    if (loading) {
      wanted = true;
      return;
    }
    loading = true;
    wanted = false;
    try {
      const answer = await fetch(location.href, { cache: "no-store" });
      if (answer.ok) show(await answer.text());
    } catch {
      if (brokenAt === null) brokenAt = performance.now();
    }
    loading = false;
    if (wanted) load();
  }

  function show(text) {
    const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("live");
    if (!fresh) return;
    const old = live();
    // pictures that stay are moved, not loaded again: nothing flickers
    const kept = new Map([...old.querySelectorAll("img")].map((img) => [img.getAttribute("src"), img]));
    for (const img of fresh.querySelectorAll("img")) {
      const same = kept.get(img.getAttribute("src"));
      if (same) img.replaceWith(same);
    }
    old.replaceChildren(...fresh.childNodes);
    old.dataset.at = fresh.dataset.at;
    loadedAt = performance.now();
    const alarm = fresh.dataset.alarm || "";
    if (alarm && alarm !== alarmed) chime();
    alarmed = alarm;
    old.dataset.alarm = alarm;
    tick();
  }

  function tick() {
    const now = performance.now();
    const silent = now - heardAt > SILENT_AFTER_MS;
    const gone = silent || (brokenAt !== null && now - brokenAt > LOST_AFTER_MS);
    const shownAt = Number(live().dataset.at);
    if (silent && now - heardAt > SILENT_AFTER_MS + RETRY_MS) {
      heardAt = now - SILENT_AFTER_MS; // half-open connections never say so: open another
      listen();
    }
    document.body.classList.toggle("stale", gone);
    lost.hidden = !gone;
    if (gone) {
      lostText.textContent =
        `What is shown was so at ${clock(shownAt)}, ${duration(gateNow() - shownAt)} ago.`;
    }
    link.className = gone ? "link broken" : "link live";
    link.textContent = gone ? "Not connected" : brokenAt === null ? `Live ${clock(gateNow())}` : "";
    for (const one of document.querySelectorAll(".ago")) {
      one.textContent = `${duration(gateNow() - Number(one.dataset.at))} ago`;
    }
    if (!gone && brokenAt === null && now - loadedAt > REFRESH_MS) load();
  }

  // Two soft tones, only where someone switched them on at this screen.
  let audio = null;
  const wantsSound = () => sound && localStorage.getItem("iqgate-sound") === "on";

  function chime() {
    if (!wantsSound()) return;
    audio = audio || new AudioContext();
    [660, 880].forEach((frequency, index) => {
      const tone = audio.createOscillator();
      const volume = audio.createGain();
      const start = audio.currentTime + index * 0.25;
      tone.frequency.value = frequency;
      volume.gain.setValueAtTime(0, start);
      volume.gain.linearRampToValueAtTime(0.12, start + 0.03);
      volume.gain.exponentialRampToValueAtTime(0.001, start + 0.4);
      tone.connect(volume).connect(audio.destination);
      tone.start(start);
      tone.stop(start + 0.45);
    });
  }

  function showSound() {
    const on = wantsSound();
    sound.textContent = on ? "Sound on" : "Sound off";
    sound.setAttribute("aria-pressed", String(on));
  }

  if (sound) {
    sound.hidden = false;
    sound.addEventListener("click", () => {
      localStorage.setItem("iqgate-sound", wantsSound() ? "off" : "on");
      showSound();
      chime();
    });
    showSound();
  }
  listen();
  tick();
  setInterval(tick, 1000);
})();
