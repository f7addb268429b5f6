package cli

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/spec"
)

func (a *app) positionsCommand() *cobra.Command {
	var f compareFlags
	checkpoint := spec.Logits
	format := choice{value: "text", of: []string{"text", "json"}}
	cmd := &cobra.Command{
		Use:   "positions REFERENCE CANDIDATE",
		Short: "List the differences of one checkpoint, position by position",
		Long: `Lists, for every position that both traces have, the largest and the mean
absolute difference of one checkpoint, the element of the largest, and rel_l2.
Nothing is judged: this is the table that people make by hand to look closer.

Garbage and skipped elements are left out and counted; --keep-garbage compares
them like any other value.`,
		Example: `  paritygate positions reference.safetensors candidate.safetensors --checkpoint layer_3_output
  paritygate positions llama.jsonl worker.jsonl --keep-garbage --format json`,
		Args: exactArgs("REFERENCE", "CANDIDATE"),
		RunE: func(_ *cobra.Command, args []string) error {
			s, err := f.loadSpec()
			if err != nil {
				return err
			}
			pair, err := openPair(s, args[0], args[1])
			if err != nil {
				return err
			}
			defer closePair(pair)
			rows, err := gate.Positions(s, pair, checkpoint)
			if err != nil {
				return err
			}
			return a.positions(rows, format.value)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&checkpoint, "checkpoint", "c", checkpoint, "the checkpoint's canonical `NAME`")
	flags.VarP(&format, "format", "f", "how to print it")
	completeChoice(cmd, "format", format.of)
	f.addSelection(cmd)
	return cmd
}

func (a *app) positions(rows []gate.PositionRow, format string) error {
	if format == "json" {
		b, err := json.MarshalIndent(rows, "", "  ")
		if err != nil {
			return err
		}
		return a.write(append(b, '\n'))
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "position\tmax_abs\telement\tmean_abs\trel_l2\tcompared\tleft out\t")
	for _, r := range rows {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%d\t%d\t\n", r.Position, figure(r.MaxAbs), element(r.MaxAbsElement), figure(r.MeanAbs), figure(r.RelL2), r.Compared, r.LeftOut)
	}
	w.Flush() // a strings.Builder takes everything
	return a.write([]byte(b.String()))
}

// figure has four digits, as people write such tables.
func figure(v gate.Value) string { return strconv.FormatFloat(float64(v), 'g', 4, 64) }

func element(i int) string {
	if i < 0 {
		return "–"
	}
	return strconv.Itoa(i)
}
