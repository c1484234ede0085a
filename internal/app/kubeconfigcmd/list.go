package kubeconfigcmd

import (
	"fmt"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/kubeconfig"
)

// listed is one context as `list -o json` prints it.
type listed struct {
	Context   string `json:"context"`
	Current   bool   `json:"current"`
	Cluster   string `json:"cluster"`
	Server    string `json:"server"`
	User      string `json:"user"`
	Namespace string `json:"namespace,omitempty"`
	// Program makes the tokens; empty if the user is something else than a program's word.
	Program string `json:"program,omitempty"`
	// TokenFor is the cluster that tokens are signed for; empty if the program makes none
	// of IAM's.
	TokenFor string `json:"tokenFor,omitempty"`
	Role     string `json:"role,omitempty"`
	Profile  string `json:"profile,omitempty"`
	File     string `json:"file"`
}

func newList(sys cli.System) *cobra.Command {
	var (
		where  files
		output *string
	)
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "Show the contexts of kubeconfig files, and as whom each enters",
		Example: `  rolecall kubeconfig list
  rolecall kubeconfig list -o json`,
		Args: cli.NoArguments,
		RunE: func(*cobra.Command, []string) error {
			all, err := where.list(sys)
			if err != nil {
				return err
			}
			if *output == "json" {
				return cli.PrintJSON(sys.Stdout, all)
			}
			return printList(sys, all)
		},
	}
	where.fileFlags(cmd)
	output = cli.Output(cmd, "table", "json")
	return cmd
}

// list reads all files. As for kubectl, the first one that says which context is the
// current one is right, and the first that has a name.
func (f *files) list(sys cli.System) ([]listed, error) {
	paths, err := f.paths(sys)
	if err != nil {
		return nil, err
	}
	all, hasCurrent := []listed{}, false
	for _, path := range paths {
		file, err := kubeconfig.Open(path)
		if err != nil {
			return nil, err
		}
		isCurrentHere := false
		for _, c := range file.Contexts() {
			one := listed{
				Context: c.Name, Current: c.Current && !hasCurrent, Cluster: c.Cluster, Server: c.Server, User: c.User,
				Namespace: c.Namespace, File: path,
			}
			one.about(c.Exec)
			isCurrentHere = isCurrentHere || c.Current
			all = append(all, one)
		}
		hasCurrent = hasCurrent || isCurrentHere
	}
	return all, nil
}

// about tells what an exec plugin's arguments say, in the words of the three programs
// that make tokens.
func (l *listed) about(exec *kubeconfig.Exec) {
	if exec == nil {
		return
	}
	l.Program = filepath.Base(exec.Command)
	makes := map[string]string{"aws": "get-token", "aws-iam-authenticator": "token", "heptio-authenticator-aws": "token"}
	verb, known := makes[l.Program]
	if !known {
		verb = "token"
	}
	isToken := false
	said := map[string]string{}
	for i := 0; i < len(exec.Args); i++ {
		arg := exec.Args[i]
		if !strings.HasPrefix(arg, "-") {
			isToken = isToken || arg == verb
			continue
		}
		flag, value, joined := strings.Cut(arg, "=")
		if !joined && i+1 < len(exec.Args) && !strings.HasPrefix(exec.Args[i+1], "-") {
			i++
			value = exec.Args[i]
		}
		said[flag] = value
	}
	if !isToken {
		return
	}
	first := func(names ...string) string {
		for _, name := range names {
			if said[name] != "" {
				return said[name]
			}
		}
		return ""
	}
	l.TokenFor = first("--cluster-name", "--cluster-id", "-i")
	l.Role = first("--role-arn", "--role", "-r")
	l.Profile = first("--profile")
	for _, variable := range exec.Env {
		if variable.Name == "AWS_PROFILE" && l.Profile == "" {
			l.Profile = variable.Value
		}
	}
}

func printList(sys cli.System, all []listed) error {
	table := tabwriter.NewWriter(sys.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "CURRENT\tCONTEXT\tCLUSTER\tPROGRAM\tPROFILE\tROLE")
	for _, one := range all {
		mark := ""
		if one.Current {
			mark = "*"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", mark, one.Context, one.Cluster, dash(one.Program), dash(one.Profile), dash(one.Role))
	}
	return table.Flush()
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
