package cli

import (
	"io"
	"os"

	"golang.org/x/term"
)

// osTerminal asks the operating system whether w is a terminal.
func osTerminal(w io.Writer) (int, bool) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 {
		width = 80
	}
	return width, true
}

// colored reports whether text on stdout is coloured: always or never as the
// flag says, else on a terminal that can and whose user does not object.
func (a *app) colored() bool {
	switch a.color.value {
	case "always":
		return true
	case "never":
		return false
	}
	_, terminal := a.Terminal(a.Stdout)
	return terminal && a.Getenv("NO_COLOR") == "" && a.Getenv("TERM") != "dumb"
}
