package action

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"sync"

	"github.com/paritygate/paritygate/gate/engine"
)

const (
	// maxEngineLog bounds what engines may write into the step's log.
	maxEngineLog = 8 << 20
	// maxEngineLine is where a line without an end is broken.
	maxEngineLine = 16 << 10
)

// engineLog shows what engines print in the step's log, where the runner looks
// for commands. Two walls stand before them: the runner is told to stop looking
// until a word comes that no engine knows, and every line is made harmless, since
// on the host an engine could read that word in the runner's own log.
type engineLog struct {
	mu      sync.Mutex
	w       io.Writer
	word    string
	left    int
	pending map[*engineStream][]byte
}

// engineStream is one of the two outputs.
type engineStream struct{ log *engineLog }

func newEngineLog(w io.Writer) *engineLog {
	l := &engineLog{w: w, word: "paritygate-" + rand.Text(), left: maxEngineLog, pending: map[*engineStream][]byte{}}
	fmt.Fprintf(w, "::stop-commands::%s\n", l.word)
	return l
}

func (l *engineLog) stream() io.Writer { return &engineStream{l} }

// end writes what is left and lets the runner look for commands again.
func (l *engineLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s, rest := range l.pending {
		if len(rest) > 0 {
			l.line(rest)
		}
		delete(l.pending, s)
	}
	l.w.Write([]byte("\n::" + l.word + "::\n")) // a log that cannot be written is no reason to stop
}

// Write never fails: an engine must not be held up by a log that nobody takes.
func (s *engineStream) Write(b []byte) (int, error) {
	l := s.log
	l.mu.Lock()
	defer l.mu.Unlock()
	p := append(l.pending[s], b...)
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 && len(p) < maxEngineLine {
			break
		}
		if i < 0 || i > maxEngineLine {
			i = maxEngineLine - 1
		}
		l.line(p[:i+1])
		p = p[i+1:]
	}
	l.pending[s] = bytes.Clone(p)
	return len(b), nil
}

func (l *engineLog) line(b []byte) {
	if l.left < 0 {
		return
	}
	text := engine.Sanitize(string(bytes.TrimRight(b, "\r\n"))) + "\n"
	if l.left -= len(text); l.left < 0 {
		text = fmt.Sprintf("… the engines printed more than %d MB; the rest is left out\n", maxEngineLog>>20)
	}
	io.WriteString(l.w, text)
}
