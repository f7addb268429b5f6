package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// A step shows nothing before patience is over, so that quick commands stay
// quiet. A terminal then gets one line that is redrawn; anything else a line
// now and then.
//
// It is written here because a bar of one line needs no library: those that
// were looked at bring four more modules and a goroutine a bar.
const (
	patience  = 2 * time.Second
	redraw    = 200 * time.Millisecond
	logPeriod = 10 * time.Second
)

// progress says on stderr what goes on. Its methods may be called from any
// goroutine. The zero writer is never written to before the first step.
type progress struct {
	w     io.Writer
	bar   bool // redraw one line, instead of writing lines
	width int
	now   func() time.Time

	mu          sync.Mutex
	step        string
	outer       string // the step that step is a part of, or ""
	began       time.Time
	shown       time.Time // last output
	done, total int64
	drawn       bool // a bar stands on the line
	stop        chan struct{}
	stopped     sync.WaitGroup
}

// newProgress reports on stderr: with a bar when that is a terminal of a
// person, with plain lines otherwise.
func (a *app) newProgress() *progress {
	width, terminal := a.Terminal(a.Stderr)
	ci := a.Getenv("CI") != ""
	return &progress{w: a.Stderr, width: width, now: time.Now,
		bar: terminal && !ci && a.Getenv("TERM") != "dumb"}
}

// start begins to look at the clock by itself: engines are silent for minutes.
func (p *progress) start() {
	p.stop = make(chan struct{})
	p.stopped.Add(1)
	go func() {
		defer p.stopped.Done()
		t := time.NewTicker(redraw)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				p.tick()
			case <-p.stop:
				return
			}
		}
	}()
}

// end stops, and clears the bar.
func (p *progress) end() {
	if p.stop != nil {
		close(p.stop)
		p.stopped.Wait()
		p.stop = nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	p.step = ""
}

// Step begins a step; "" ends it and goes back to the one before: an adapter
// that says what it does within a run says "" when it is over.
func (p *progress) Step(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if name == p.step {
		return
	}
	p.clear()
	if name == "" {
		name, p.outer = p.outer, ""
	} else {
		p.outer = p.step
	}
	p.step, p.began, p.shown = name, p.now(), time.Time{}
	p.done, p.total = 0, 0
}

// Bytes tells how much of the step is done.
func (p *progress) Bytes(done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.step == "" {
		p.step, p.began, p.shown = "comparing", p.now(), time.Time{}
	}
	p.done, p.total = done, total
}

// tick shows what is due.
func (p *progress) tick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if p.step == "" || now.Sub(p.began) < patience {
		return
	}
	period := logPeriod
	if p.bar {
		period = redraw
	}
	if !p.shown.IsZero() && now.Sub(p.shown) < period {
		return
	}
	p.shown = now
	if p.bar {
		// Errors of a progress line are nobody's concern: the report follows.
		fmt.Fprint(p.w, "\r\x1b[K"+p.line(now))
		p.drawn = true
		return
	}
	fmt.Fprintln(p.w, "paritygate: "+p.text(now))
}

func (p *progress) clear() {
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = false
	}
}

// text is the plain line: "comparing: 42 % of 1.1 GB, 12 s".
func (p *progress) text(now time.Time) string {
	elapsed := now.Sub(p.began).Truncate(time.Second)
	if p.total <= 0 {
		return fmt.Sprintf("%s, %s", p.step, elapsed)
	}
	return fmt.Sprintf("%s: %d %% of %s, %s", p.step, p.percent(), siBytes(p.total), elapsed)
}

// line is the bar, never wider than the terminal: a line that wraps cannot be
// redrawn.
func (p *progress) line(now time.Time) string {
	text := p.text(now)
	if p.total > 0 {
		if room := p.width - len([]rune(text)) - 4; room >= 10 {
			room = min(room, 40)
			full := int(int64(room) * p.percent() / 100)
			text = "[" + strings.Repeat("=", full) + strings.Repeat(" ", room-full) + "] " + text
		}
	}
	if r := []rune(text); p.width > 1 && len(r) >= p.width {
		text = string(r[:p.width-1])
	}
	return text
}

func (p *progress) percent() int64 {
	return min(100, max(0, int64(100*float64(p.done)/float64(p.total))))
}

// siBytes writes a size as people read it: "1.1 GB".
func siBytes(n int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	v, i := float64(n), 0
	for v >= 999.95 && i < len(units)-1 {
		v /= 1000
		i++
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}
