package accesscmd

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/internal/fault"
)

// me is `whoami -o json`.
type me struct {
	AWS     *identity `json:"aws,omitempty"`
	AWSNote string    `json:"awsNote,omitempty"`
	// Cluster is who the cluster says one is; nil if it does not let one in.
	Cluster   *clusterUser `json:"cluster,omitempty"`
	Server    string       `json:"server"`
	Context   string       `json:"context"`
	Refused   string       `json:"refused,omitempty"`
	Explained *explained   `json:"mapping,omitempty"`
	// MappingNote says why the mappings could not be looked at.
	MappingNote string `json:"mappingNote,omitempty"`
	Namespace   string `json:"namespace"`
	Rules       []rule `json:"rules,omitempty"`
	// Incomplete says that the cluster could not tell all rules.
	Incomplete string `json:"incomplete,omitempty"`
}

type clusterUser struct {
	Username string              `json:"username"`
	UID      string              `json:"uid,omitempty"`
	Groups   []string            `json:"groups"`
	Extra    map[string][]string `json:"extra,omitempty"`
}

type rule struct {
	Verbs         []string `json:"verbs"`
	APIGroups     []string `json:"apiGroups,omitempty"`
	Resources     []string `json:"resources,omitempty"`
	ResourceNames []string `json:"resourceNames,omitempty"`
	NonResource   []string `json:"nonResourceURLs,omitempty"`
}

// whoamiConfig is what `access whoami` needs.
type whoamiConfig struct {
	sources
	profile, namespace string
}

func newWhoami(sys cli.System) *cobra.Command {
	var (
		c      whoamiConfig
		output *string
	)
	cmd := &cobra.Command{
		Use:   "whoami",
		Short: "Say who one is to AWS and to the cluster, by which mapping, and what one may do",
		Long: `Ask STS who the AWS credentials are, the cluster who one is there, the mappings why, and
RBAC what that allows in a namespace. Whatever of these cannot be asked is said, and the
rest is shown.

Exit code 0 means that the cluster lets one in, 1 that it does not.`,
		Example: `  rolecall access whoami
  rolecall access whoami --context prod -n shop -o json`,
		Args: cli.NoArguments,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		found, err := c.ask(cmd.Context())
		if err != nil {
			return err
		}
		if *output == "json" {
			if err := cli.PrintJSON(sys.Stdout, found); err != nil {
				return err
			}
		} else {
			printMe(sys.Stdout, found)
		}
		if found.Cluster == nil {
			return &cli.ExitError{Code: 1}
		}
		return nil
	}
	cmd.Flags().StringVar(&c.profile, "profile", "", "AWS profile; the AWS environment's identity if empty")
	cmd.Flags().StringVarP(&c.namespace, "namespace", "n", "", "namespace to ask RBAC about; the context's if empty")
	c.flags(cmd)
	output = cli.Output(cmd, "text", "json")
	return cmd
}

func (c *whoamiConfig) ask(ctx context.Context) (*me, error) {
	config, err := c.config()
	if err != nil {
		return nil, err
	}
	found := &me{Server: config.Host, Context: c.context, Namespace: c.namespace}
	if raw, err := c.loaded().RawConfig(); err == nil && found.Context == "" {
		found.Context = raw.CurrentContext
	}
	if found.Namespace == "" {
		if found.Namespace, _, err = c.loaded().Namespace(); err != nil {
			return nil, fault.New(fault.Usage, "find the namespace: %w", err)
		}
	}
	who := subject{profile: c.profile}
	id, err := who.identity(ctx, cli.System{}, c.partition)
	if err != nil {
		found.AWSNote = err.Error()
	} else {
		found.AWS = &identity{id.ARN, id.CanonicalARN, id.AccountID, id.UserID, id.SessionName}
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fault.New(fault.Usage, "reach the API server: %w", err)
	}
	if err := found.askCluster(ctx, client); err != nil {
		return nil, err
	}
	if entered := found.entered(); entered != nil {
		id = entered // kubectl's credentials may be others than this shell's
	}
	if id == nil {
		return found, nil
	}
	read, err := c.collect(ctx)
	if err != nil {
		found.MappingNote = err.Error()
		return found, nil //nolint:nilerr // it is told with the rest
	}
	e := read.explain(id, nil)
	if len(e.Unread) > 0 {
		found.MappingNote = "you may not read all mappings: " + e.Unread[0]
	}
	if e.Mapped || len(e.Unread) == 0 { // otherwise what is not read may be what counts
		found.Explained = &e
	}
	return found, nil
}

// entered is the identity that the cluster says one has, if an authenticator told it.
func (m *me) entered() *callerid.Identity {
	if m.Cluster == nil || len(m.Cluster.Extra["arn"]) != 1 {
		return nil
	}
	who, err := identityOf(m.Cluster.Extra["arn"][0], "")
	if err != nil {
		return nil
	}
	for into, key := range map[*string]string{&who.UserID: "principalId", &who.AccessKeyID: "accessKeyId"} {
		if values := m.Cluster.Extra[key]; len(values) == 1 {
			*into = values[0]
		}
	}
	return who
}

// askCluster asks who one is, and what one may do.
func (m *me) askCluster(ctx context.Context, client kubernetes.Interface) error {
	review, err := client.AuthenticationV1().SelfSubjectReviews().
		Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if apierrors.IsUnauthorized(err) {
		m.Refused = "Unauthorized"
		return nil
	}
	if err != nil {
		return fault.New(fault.Unavailable, "ask the cluster who one is: %w", err).
			Hint("kubectl --context %s cluster-info shows whether it can be reached", fault.Quote(m.Context))
	}
	who := review.Status.UserInfo
	m.Cluster = &clusterUser{Username: who.Username, UID: who.UID, Groups: who.Groups, Extra: map[string][]string{}}
	for key, values := range who.Extra {
		m.Cluster.Extra[key] = values
	}
	rules, err := client.AuthorizationV1().SelfSubjectRulesReviews().Create(ctx, &authorizationv1.SelfSubjectRulesReview{
		Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: m.Namespace},
	}, metav1.CreateOptions{})
	if err != nil {
		m.Incomplete = err.Error()
		return nil //nolint:nilerr // it is told with the rest
	}
	if rules.Status.Incomplete {
		m.Incomplete = rules.Status.EvaluationError
	}
	for _, r := range rules.Status.ResourceRules {
		m.Rules = append(m.Rules, rule{Verbs: r.Verbs, APIGroups: r.APIGroups, Resources: r.Resources, ResourceNames: r.ResourceNames})
	}
	for _, r := range rules.Status.NonResourceRules {
		m.Rules = append(m.Rules, rule{Verbs: r.Verbs, NonResource: r.NonResourceURLs})
	}
	return nil
}

func printMe(w io.Writer, m *me) {
	if m.AWS != nil {
		fmt.Fprintf(w, "AWS       %s, id %s\n", m.AWS.ARN, m.AWS.UserID)
	} else {
		fmt.Fprintf(w, "AWS       not known: %s\n", m.AWSNote)
	}
	if m.Cluster == nil {
		fmt.Fprintf(w, "cluster   %s does not let you in: %s\n", m.Server, m.Refused)
	} else {
		fmt.Fprintf(w, "cluster   %s%s\n", m.Cluster.Username, inGroups(m.Cluster.Groups))
		// The credentials of kubectl may be others than this shell's.
		if said := m.Cluster.Extra["arn"]; m.AWS != nil && len(said) == 1 && said[0] != m.AWS.ARN {
			fmt.Fprintf(w, "          as %s: the context has a profile or role of its own\n", said[0])
		}
	}
	switch {
	case m.Explained == nil && m.MappingNote != "":
		fmt.Fprintf(w, "mapping   not known: %s\n", m.MappingNote)
	case m.Explained != nil && m.Explained.Mapped:
		fmt.Fprintf(w, "mapping   %s\n", m.Explained.By)
		if m.Cluster != nil && m.Cluster.Username != m.Explained.Username {
			fmt.Fprintf(w, "          by it you would be %s\n", m.Explained.Username)
		}
	case m.Explained != nil && m.Cluster != nil && m.entered() == nil:
		fmt.Fprintln(w, "mapping   none: this context enters without an IAM identity, such as by a certificate")
	case m.Explained != nil:
		fmt.Fprintf(w, "mapping   %s: %s\n", m.Explained.Reason, m.Explained.Text)
		for _, text := range m.Explained.Uncertain {
			fmt.Fprintf(w, "          but a server that runs keeps what this said before it was broken: %s\n", text)
		}
		for _, v := range m.Explained.Sources {
			for _, n := range v.Near {
				fmt.Fprintf(w, "          %s\n", n.Text)
			}
		}
	}
	if m.Explained != nil && m.MappingNote != "" {
		fmt.Fprintf(w, "          %s\n", m.MappingNote)
	}
	if m.Cluster == nil {
		return
	}
	fmt.Fprintf(w, "\nin namespace %s you may:\n", m.Namespace)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range m.Rules {
		// Everybody may look at what an API server can do, and ask about oneself.
		if len(r.NonResource) > 0 && !slices.Contains(r.NonResource, "*") || isAboutOneself(r) {
			continue
		}
		on := qualified(r)
		if len(r.ResourceNames) > 0 {
			on += " named " + strings.Join(r.ResourceNames, ", ")
		}
		fmt.Fprintf(table, "  %s\t%s\n", strings.Join(r.Verbs, ","), on)
	}
	_ = table.Flush()
	if m.Incomplete != "" {
		fmt.Fprintf(w, "  and what the cluster could not tell: %s\n", m.Incomplete)
	}
}

// isAboutOneself: the rules that everybody has.
func isAboutOneself(r rule) bool {
	return len(r.APIGroups) == 1 && strings.HasSuffix(r.APIGroups[0], ".k8s.io") && slices.Equal(r.Verbs, []string{"create"}) &&
		!slices.ContainsFunc(r.Resources, func(name string) bool { return !strings.HasPrefix(name, "selfsubject") })
}

// qualified is the resources of a rule as kubectl writes them.
func qualified(r rule) string {
	if len(r.NonResource) > 0 {
		return strings.Join(r.NonResource, ", ")
	}
	var names []string
	for _, group := range r.APIGroups {
		for _, resource := range r.Resources {
			if group != "" {
				resource += "." + group
			}
			names = append(names, resource)
		}
	}
	return strings.Join(names, ", ")
}
