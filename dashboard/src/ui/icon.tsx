// Line icons, drawn here: nothing is loaded for them.
const paths: Record<string, string> = {
  overview: 'M4 13h6V4H4zM14 20h6v-9h-6zM14 4v3h6V4zM4 20h6v-3H4z',
  pipeline: 'M3 12h4M17 12h4M7 8h10v8H7zM12 8V4M12 20v-4',
  blocks: 'M12 3l8 4.5v9L12 21l-8-4.5v-9zM12 12l8-4.5M12 12v9M12 12L4 7.5',
  account: 'M12 12a4 4 0 100-8 4 4 0 000 8zM4 21c1-4 4-6 8-6s7 2 8 6',
  people: 'M9 12a4 4 0 100-8 4 4 0 000 8zM2 20c1-4 3-6 7-6s6 2 7 6M16 4.5a4 4 0 010 7M18 14.5c2.5.8 3.5 2.5 4 5.5',
  incidents: 'M12 3l10 18H2zM12 10v5M12 18v.5',
  letters: 'M3 6h18v12H3zM3 7l9 7 9-7',
  connections: 'M6 18a3 3 0 100-6 3 3 0 000 6zM18 12a3 3 0 100-6 3 3 0 000 6zM8.6 13.6l6.8-3.2',
  settings: 'M4 7h10M18 7h2M4 17h2M10 17h10M16 9.5a2.5 2.5 0 100-5 2.5 2.5 0 000 5zM8 19.5a2.5 2.5 0 100-5 2.5 2.5 0 000 5z',
  hook: 'M8 4a4 4 0 014 4v8M12 16a4 4 0 108 0M12 16a4 4 0 01-8 0',
  eye: 'M2 12c2.5-5 6-7 10-7s7.5 2 10 7c-2.5 5-6 7-10 7s-7.5-2-10-7zM12 15.5a3.5 3.5 0 100-7 3.5 3.5 0 000 7z',
  bell: 'M6 16V11a6 6 0 0112 0v5l2 2H4zM10 21h4',
  audit: 'M6 3h9l4 4v14H6zM14 3v5h5M9 12h7M9 16h7',
  search: 'M11 18a7 7 0 100-14 7 7 0 000 14zM20 20l-4-4',
  sun: 'M12 16a4 4 0 100-8 4 4 0 000 8zM12 2v3M12 19v3M2 12h3M19 12h3M5 5l2 2M17 17l2 2M19 5l-2 2M7 17l-2 2',
  moon: 'M20 14A8 8 0 1110 4a6.5 6.5 0 0010 10z',
  out: 'M14 4h6v16h-6M10 8l-4 4 4 4M6 12h10',
  copy: 'M9 9h11v11H9zM15 9V4H4v11h5',
  alert: 'M12 21a9 9 0 100-18 9 9 0 000 18zM12 7.5v5.5M12 16v.5',
  check: 'M5 12.5l4.5 4.5L19 7.5',
  cross: 'M6 6l12 12M18 6L6 18',
  minus: 'M6 12h12',
  calm: 'M3 9c3 0 3 2 6 2s3-2 6-2 3 2 6 2M3 15c3 0 3 2 6 2s3-2 6-2 3 2 6 2',
  replay: 'M4 12a8 8 0 102.5-5.8M4 4v4.5h4.5',
  edit: 'M4 20l1-5L16 4l4 4L9 19zM14 6l4 4',
  trash: 'M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13M10.5 11v5M13.5 11v5',
  pause: 'M9 5v14M15 5v14',
  play: 'M7 5l12 7-12 7z',
  refetch: 'M12 4v11M7 11l5 5 5-5M4 20h16',
  rewind: 'M11 6l-7 6 7 6zM20 6l-7 6 7 6z',
  compare: 'M4 8h13M13 4l4 4-4 4M20 16H7M11 12l-4 4 4 4',
  next: 'M9 5l7 7-7 7',
  back: 'M15 5l-7 7 7 7',
  menu: 'M4 7h16M4 12h16M4 17h16',
  key: 'M8 16a4 4 0 100-8 4 4 0 000 8zM12 12h9M18 12v3',
};

export function Icon({ name }: { name: string }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" width="18" height="18" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round"
      stroke-linejoin="round" aria-hidden="true" focusable="false">
      <path d={paths[name] ?? ''} />
    </svg>
  );
}
