package ledger

import (
	"context"
	"os/exec"
	"strings"
	"time"
)

// Machine names the machine's GPU and its driver, as nvidia-smi says; "" where
// there is none. Several GPUs of one model count as one.
func Machine(ctx context.Context) (gpu, driver string) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader").Output()
	if err != nil {
		return "", ""
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	gpu, driver, _ = strings.Cut(line, ",")
	return strings.TrimSpace(gpu), strings.TrimSpace(driver)
}
