package action

import (
	"context"
	"crypto/rand"
	"encoding/csv"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/paritygate/paritygate/gate/engine"
)

// mountedBinary is where this program is put into an image of the user's.
const mountedBinary = "/opt/paritygate/paritygate"

// containerHome is the home folder of engines. It is a folder of the plan's, on
// disk, so that what they cache there is neither in memory nor in the image.
const containerHome = "/tmp/home"

// forwarded are the variables of the runner that choose devices and threads:
// runners that share a machine are told apart by them.
var forwarded = []string{"CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES",
	"GPU_DEVICE_ORDINAL", "ONEAPI_DEVICE_SELECTOR", "OMP_NUM_THREADS", "TZ"}

// container is one `docker run`.
type container struct {
	plan   *Plan
	dir    string // the plan's folder
	name   string
	image  string
	binary string   // of this program, mounted into a user's image; "" when the image has it
	gpus   string   // as docker takes it, "" for none
	user   string   // uid:gid
	remap  bool     // the daemon maps users: ours must be left as it is
	env    []string // "NAME=value"
}

// args are docker's arguments. Nothing of the runner but the workspace and two
// folders of the plan's can be seen in the container.
func (c *container) args() []string {
	p := c.plan
	args := []string{"run", "--rm", "--init", "--name", c.name, "--pull=missing", "--log-driver=none",
		"--user", c.user, "--cap-drop=ALL", "--security-opt=no-new-privileges", "--workdir", p.WorkDir,
		mount(p.Workspace, p.Workspace, false), mount(c.dir+"/"+outFolder, c.dir+"/"+outFolder, false), mount(c.dir+"/"+homeFolder, containerHome, false)}
	if p.BaseSpec != "" {
		args = append(args, mount(p.BaseSpec, p.BaseSpec, true))
	}
	if p.Held.Store != "" {
		args = append(args, mount(c.dir+"/"+baselinesFolder, c.dir+"/"+baselinesFolder, true), mount(c.dir+"/"+standingFile, c.dir+"/"+standingFile, true))
	}
	if c.binary != "" {
		args = append(args, mount(c.binary, mountedBinary, true), "--entrypoint", mountedBinary)
	}
	if c.remap {
		args = append(args, "--userns=host")
	}
	if c.gpus != "" {
		args = append(args, "--gpus", c.gpus)
	}
	for _, kv := range c.env {
		args = append(args, "--env", kv)
	}
	args = append(args, p.Inputs.DockerArgs...)
	return append(append(args, c.image), p.runCommand(c.dir)...)
}

// mount binds a folder or file. Unlike --volume it refuses a source that is not
// there, and takes any character in a path.
func mount(from, to string, readOnly bool) string {
	fields := []string{"type=bind", "source=" + from, "target=" + to}
	if readOnly {
		fields = append(fields, "readonly")
	}
	var b strings.Builder
	w := csv.NewWriter(&b)
	_ = w.Write(fields) // a strings.Builder takes everything
	w.Flush()
	return "--mount=" + strings.TrimSuffix(b.String(), "\n")
}

// gpuOption is the value of --gpus. A list of devices is one field of a CSV line.
func gpuOption(v string) string {
	if strings.HasPrefix(v, "device=") && strings.Contains(v, ",") {
		return `"` + v + `"`
	}
	return v
}

// container runs the gate in a container.
func (s *Step) container(ctx context.Context, p *Plan, dir string, log *engineLog) ended {
	d := s.newDocker(log)
	c := &container{plan: p, dir: dir, name: "paritygate-" + strings.ToLower(rand.Text())[:16], image: p.Inputs.Image}
	if err := s.prepare(ctx, c, d); err != nil {
		return ended{reason: err.Error()}
	}
	fmt.Fprintf(log.stream(), "paritygate: docker %s\n", strings.Join(c.args(), " "))
	r, err := d.run(ctx, 0, c.args()...)
	if err != nil {
		return ended{reason: "docker cannot be started: " + err.Error() + "; runtime: host needs none"}
	}
	var e ended
	e.take(r)
	if !r.OK() {
		d.remove(c.name) // a client that was killed leaves its container running
	}
	switch {
	case e.reason != "":
	case e.code == 125 || e.code == 126 || e.code == 127:
		e.reason = fmt.Sprintf("docker could not run the container (exit code %d)", e.code)
		if strings.Contains(e.stderr, "bind source path does not exist") {
			e.reason += ", because its daemon does not see the job's files, as in a job that itself runs in a container: use runtime: host there"
		}
	case e.code == 137:
		e.reason = "the container was killed (exit code 137): out of memory, or docker kill"
	}
	return e
}

// prepare finds out what the container needs to know of this runner.
func (s *Step) prepare(ctx context.Context, c *container, d *docker) error {
	env := s.environ()
	c.user = fmt.Sprintf("%d:%d", os.Getuid(), os.Getgid())
	security, err := d.info(ctx)
	if err != nil {
		return err
	}
	if strings.Contains(security, "name=rootless") {
		c.user = "0:0" // root in there is this user out here
	} else {
		c.remap = strings.Contains(security, "name=userns")
	}
	if c.image == "" {
		if c.image, err = d.build(ctx, s.Getenv("GITHUB_ACTION_PATH"), s.Version); err != nil {
			return err
		}
	} else if c.binary, err = s.executable(); err != nil {
		return err
	}
	switch c.gpus = gpuOption(c.plan.Inputs.GPUs); c.gpus {
	case "none":
		c.gpus = ""
	case "":
		if hasGPU(ctx, env) {
			c.gpus = "all"
		}
	}
	c.env = append(c.env, "HOME="+containerHome)
	for _, name := range forwarded {
		if v, ok := lookup(env, name); ok {
			c.env = append(c.env, name+"="+v)
		}
	}
	c.env = append(c.env, inputEnv(env, c.plan.Inputs.Env)...)
	return nil
}

// hasGPU says whether the runner has an NVIDIA GPU whose driver answers.
func hasGPU(ctx context.Context, env []string) bool {
	path, _ := lookup(env, "PATH")
	r, err := engine.Process{Args: []string{"nvidia-smi", "-L"}, Env: []string{"PATH=" + path}, Timeout: 30 * time.Second}.Run(ctx)
	return err == nil && r.OK() && slices.ContainsFunc(strings.Split(r.Stdout.String(), "\n"), func(l string) bool { return strings.HasPrefix(l, "GPU ") })
}
