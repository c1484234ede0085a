package tokencmd

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/rolecall/rolecall/internal/app/cli"
)

// The protocol between kubectl and its plugins, and its versions.
const (
	group       = "client.authentication.k8s.io/"
	v1          = group + "v1"
	v1beta1     = group + "v1beta1"
	v1alpha1    = group + "v1alpha1"
	kindOfExec  = "ExecCredential"
	maxExecInfo = 1 << 20
)

// execInfo is what the client that started the plugin said, in KUBERNETES_EXEC_INFO.
type execInfo struct {
	version string
	// isPlugin says that a client of Kubernetes has started this process, and
	// isInteractive that it lends its terminal.
	isPlugin, isInteractive bool
	warnings                []string
}

// readExecInfo answers in the version that was asked for, if it is one, else in v1beta1
// (spec authenticator §2.5).
func readExecInfo(text string) execInfo {
	info := execInfo{version: v1beta1}
	if strings.TrimSpace(text) == "" {
		return info
	}
	info.isPlugin = true
	var said struct {
		APIVersion string `json:"apiVersion"`
		Spec       struct {
			Interactive bool `json:"interactive"`
		} `json:"spec"`
	}
	if len(text) > maxExecInfo || json.Unmarshal([]byte(text), &said) != nil {
		info.warnings = append(info.warnings, "KUBERNETES_EXEC_INFO is not JSON: the answer is "+v1beta1)
		return info
	}
	info.isInteractive = said.Spec.Interactive
	switch said.APIVersion {
	case v1, v1beta1:
		info.version = said.APIVersion
	case v1alpha1:
		info.version = v1alpha1
		info.warnings = append(info.warnings, "kubectl 1.24 and newer do not know "+v1alpha1+
			": let the kubeconfig say "+v1beta1)
	default:
		info.warnings = append(
			info.warnings,
			fmt.Sprintf("KUBERNETES_EXEC_INFO asks for version %.64q: the answer is %s",
				said.APIVersion, v1beta1),
		)
	}
	return info
}

// mayAsk reports whether a person is there and expects to be asked.
func (e execInfo) mayAsk(sys cli.System) bool {
	if e.isPlugin && !e.isInteractive {
		return false
	}
	file, ok := sys.Stdin.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// execCredential is the answer, with the members in the order of aws-iam-authenticator.
type execCredential struct {
	Kind       string `json:"kind"`
	APIVersion string `json:"apiVersion"`
	Spec       struct {
		Interactive bool `json:"interactive"`
	} `json:"spec"`
	Status execStatus `json:"status"`
}

type execStatus struct {
	Expires string `json:"expirationTimestamp,omitempty"`
	Token   string `json:"token"`
}

func (e execInfo) print(sys cli.System, made madeToken) error {
	answer := execCredential{Kind: kindOfExec, APIVersion: e.version}
	answer.Status = execStatus{made.until.UTC().Format(time.RFC3339), made.Reveal()}
	text, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	_, err = sys.Stdout.Write(append(text, '\n'))
	return err
}
