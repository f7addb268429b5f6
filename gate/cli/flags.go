package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// choice is a flag that takes one of a few words.
type choice struct {
	value string
	of    []string
}

func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return strings.Join(c.of, "|") }
func (c *choice) Set(s string) error {
	for _, v := range c.of {
		if s == v {
			c.value = s
			return nil
		}
	}
	return fmt.Errorf("want %s", orList(c.of))
}

// orList joins words as "a, b or c".
func orList(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// completeChoice completes a flag from fixed words.
func completeChoice(cmd *cobra.Command, flag string, words []string) {
	// The only error is a flag that does not exist, which a test would show.
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err)
	}
}

// indices is a flag that takes non-negative whole numbers and ranges, as 0,1,4-7.
type indices []int

// maxIndices bounds what a range may spell out.
const maxIndices = 1 << 20

func (x *indices) Type() string { return "N,N-M,..." }
func (x *indices) String() string {
	parts := make([]string, len(*x))
	for i, v := range *x {
		parts[i] = strconv.Itoa(v)
	}
	return strings.Join(parts, ",")
}

func (x *indices) Set(s string) error {
	for _, part := range strings.Split(s, ",") {
		from, to, err := parseRange(part)
		if err != nil {
			return err
		}
		if to-from >= maxIndices || len(*x)+to-from >= maxIndices {
			return fmt.Errorf("%q: more than %d numbers", part, maxIndices)
		}
		for v := from; v <= to; v++ {
			*x = append(*x, v)
		}
	}
	return nil
}

// parseRange reads "4" or "4-7".
func parseRange(s string) (from, to int, err error) {
	lo, hi, isRange := strings.Cut(strings.TrimSpace(s), "-")
	if !isRange {
		hi = lo
	}
	a, errA := strconv.ParseUint(lo, 10, 31)
	b, errB := strconv.ParseUint(hi, 10, 31)
	if errA != nil || errB != nil || a > b {
		return 0, 0, fmt.Errorf("%q: want whole numbers from 0 on, or ranges, as 0,1,4-7", s)
	}
	return int(a), int(b), nil
}

// tokenList is a flag that takes token ids, as 256,100,101.
type tokenList []int32

func (x *tokenList) Type() string { return "ID,ID,..." }
func (x *tokenList) String() string {
	parts := make([]string, len(*x))
	for i, v := range *x {
		parts[i] = strconv.Itoa(int(v))
	}
	return strings.Join(parts, ",")
}

func (x *tokenList) Set(s string) error {
	for _, part := range strings.Split(s, ",") {
		v, err := strconv.ParseUint(strings.TrimSpace(part), 10, 31)
		if err != nil {
			return fmt.Errorf("%q: want token ids, as 256,100,101", part)
		}
		*x = append(*x, int32(v))
	}
	return nil
}

// jobs is the flag of the number of workers: 1 or more; unset is one a CPU.
type jobs int

func (j *jobs) Type() string { return "N" }
func (j *jobs) String() string {
	if *j == 0 {
		return ""
	}
	return strconv.Itoa(int(*j))
}

func (j *jobs) Set(s string) error {
	v, err := strconv.Atoi(s)
	if err != nil || v < 1 || v > 4096 {
		return fmt.Errorf("want a number of workers from 1 to 4096")
	}
	*j = jobs(v)
	return nil
}

func (j *jobs) add(cmd *cobra.Command) {
	cmd.Flags().VarP(j, "jobs", "j", "workers that read and compare at once (default one a CPU); the result is the same with any number")
}
