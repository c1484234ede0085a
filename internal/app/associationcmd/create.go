package associationcmd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/yamledit"
)

// createAssociation is what `association create` needs.
type createAssociation struct {
	where  associationFlags
	fields associationFields
	tags   map[string]string
	file   string
}

func newAssociationCreate(sys cli.System) *cobra.Command {
	var (
		c      createAssociation
		output *string
	)
	cmd := &cobra.Command{
		Use:   "create SERVICE-ACCOUNT [--namespace NAMESPACE] --role-arn ARN | create -f FILE",
		Short: "Give the pods of a service account a role",
		Long: `Create an association from flags, or the PodIdentityAssociation objects of a file.
Pods that are running get the role when they are created again.`,
		Example: `  rolecall association create cart -n shop --role-arn arn:aws:iam::111122223333:role/cart
  rolecall association create --via eks --cluster-name prod cart -n shop \
    --role-arn arn:aws:iam::111122223333:role/cart
  rolecall association list -o yaml | rolecall association create --via eks --cluster-name prod -f -`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			made, err := c.run(cmd.Context(), sys)
			for i := range made { // also those before one that failed
				if printErr := printChanged(sys, *output, "created", &made[i]); printErr != nil {
					return printErr
				}
			}
			return err
		},
	}
	c.where.flags(sys, cmd)
	c.where.one(sys, cmd, c.where.serviceAccounts)
	c.where.plane.Add(cmd)
	c.fields.flags(cmd)
	cmd.Flags().StringToStringVar(&c.tags, "tags", nil,
		"tags of the association itself, not of sessions: KEY=VALUE, separated by commas")
	cmd.Flags().StringVarP(&c.file, "filename", "f", "",
		"file of PodIdentityAssociation objects, YAML or JSON, - for standard input")
	cli.CompleteFiles(cmd, "filename", "yaml", "yml", "json")
	for _, name := range []string{
		"service-account-name", "role-arn", "target-role-arn", "disable-session-tags", "session-policy", "tags",
	} {
		cmd.MarkFlagsMutuallyExclusive("filename", name)
	}
	output = cli.Output(cmd, "table", "wide", "json", "yaml")
	return cmd
}

func (c *createAssociation) run(ctx context.Context, sys cli.System) ([]v1alpha1.PodIdentityAssociation, error) {
	if err := c.where.validate(); err != nil {
		return nil, err
	}
	if c.file != "" {
		if c.where.account != "" {
			return nil, fault.New(fault.Usage, "a file names its associations: %s is one too many",
				c.where.account)
		}
		return c.fromFile(ctx, sys)
	}
	if c.where.account == "" || c.fields.role == "" {
		return nil, fault.New(fault.Usage, "the name of the service account and --role-arn are required").
			Hint("or name a file of objects with -f")
	}
	policy, err := c.fields.policy(sys)
	if err != nil {
		return nil, err
	}
	all, err := c.where.open(ctx, sys)
	if err != nil {
		return nil, err
	}
	made, err := all.Create(ctx, association.CreateInput{
		Namespace:          c.where.namespace,
		ServiceAccount:     c.where.account,
		RoleARN:            c.fields.role,
		TargetRoleARN:      c.fields.target,
		DisableSessionTags: c.fields.disableTags,
		Policy:             policy,
		Tags:               c.tags,
	})
	if err != nil {
		return nil, c.explain(err)
	}
	return []v1alpha1.PodIdentityAssociation{*made}, nil
}

// explain says how to get on where there is an association already.
func (c *createAssociation) explain(err error) error {
	err = awsapi.ExplainAssociation(err)
	if fault.KindOf(err) == fault.Conflict && !errors.Is(err, association.ErrLimit) && c.file == "" {
		return fault.New(fault.Conflict, "%w", err).Hint("rolecall association update changes it")
	}
	return err
}

// fromFile creates objects in order, and stops at the first that is refused.
// All are checked before any is made.
func (c *createAssociation) fromFile(ctx context.Context, sys cli.System) ([]v1alpha1.PodIdentityAssociation, error) {
	objects, err := c.read(sys)
	if err != nil {
		return nil, err
	}
	all, err := c.where.open(ctx, sys)
	if err != nil {
		return nil, err
	}
	for i := range objects {
		if objects[i].Namespace == "" {
			objects[i].Namespace = c.where.namespace
		}
		if err := c.check(&objects[i]); err != nil {
			return nil, err
		}
	}
	var made []v1alpha1.PodIdentityAssociation
	for i := range objects {
		one, err := c.create(ctx, all, &objects[i])
		if err != nil {
			return made, c.explain(err)
		}
		made = append(made, *one)
	}
	return made, nil
}

func (c *createAssociation) check(a *v1alpha1.PodIdentityAssociation) error {
	if err := association.Validate(a, c.where.via == viaEKS); err != nil {
		return fault.New(fault.Invalid, "%s: association %s/%s: %w", c.file, a.Namespace, a.Name, err)
	}
	if err := c.where.allowed(a); err != nil {
		return fault.New(fault.Denied, "%s: association %s/%s: %w", c.file, a.Namespace, a.Name, err)
	}
	if field := association.BeyondEKS(&a.Spec); field != "" && c.where.via == viaEKS {
		return fault.New(fault.Invalid, "%s: association %s/%s: the EKS API has nothing like spec.%s",
			c.file, a.Namespace, a.Name, field)
	}
	return nil
}

func (c *createAssociation) create(
	ctx context.Context, all associations, a *v1alpha1.PodIdentityAssociation,
) (*v1alpha1.PodIdentityAssociation, error) {
	if service, ours := all.(*association.Service); ours {
		return service.Store.Create(ctx, a) // with all that the kind has
	}
	return all.Create(ctx, association.CreateInput{
		Namespace:          a.Namespace,
		ServiceAccount:     a.Spec.ServiceAccountName,
		RoleARN:            a.Spec.RoleARN,
		TargetRoleARN:      a.Spec.TargetRoleARN,
		DisableSessionTags: association.TaggingOf(&a.Spec) == v1alpha1.NoTags,
		Policy:             a.Spec.SessionPolicy,
		Tags:               a.Spec.Tags,
	})
}

// read takes objects and lists of them.
func (c *createAssociation) read(sys cli.System) ([]v1alpha1.PodIdentityAssociation, error) {
	text, err := readInput(sys, c.file)
	if err != nil {
		return nil, err
	}
	var all []v1alpha1.PodIdentityAssociation
	documents, at := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text))), 0
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fault.New(fault.Invalid, "%s: %w", c.file, err)
		}
		at += max(bytes.Index(text[at:], document), 0)
		objects, err := parseAssociations(document)
		if _, said := errors.AsType[*fault.Error](err); said {
			return nil, fault.New(fault.Invalid, "%s: %w", c.file, err)
		} else if err != nil {
			return nil, yamledit.Invalid(c.file, 1+bytes.Count(text[:at], []byte("\n")), document, err)
		}
		all = append(all, objects...)
	}
	if len(all) == 0 {
		return nil, fault.New(fault.Invalid, "%s holds no PodIdentityAssociation", c.file)
	}
	return all, nil
}

// parseAssociations reads an object or a list; a field that the kind does not
// have is an error, since what it was to say would be lost.
func parseAssociations(document []byte) ([]v1alpha1.PodIdentityAssociation, error) {
	var kind struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := yaml.Unmarshal(document, &kind); err != nil {
		return nil, err
	}
	group := v1alpha1.GroupVersion.String()
	switch {
	case kind.Kind == "" && isNothing(document):
		return nil, nil
	case kind.Kind == "PodIdentityAssociation" && kind.APIVersion == group:
		var one v1alpha1.PodIdentityAssociation
		err := yaml.UnmarshalStrict(document, &one)
		return []v1alpha1.PodIdentityAssociation{one}, err
	case kind.Kind == "PodIdentityAssociationList" && kind.APIVersion == group, kind.Kind == "List":
		var list v1alpha1.PodIdentityAssociationList
		if err := yaml.UnmarshalStrict(document, &list); err != nil {
			return nil, err
		}
		for i := range list.Items {
			one := &list.Items[i]
			if one.Kind != "" && (one.Kind != "PodIdentityAssociation" || one.APIVersion != group) {
				return nil, fault.New(fault.Invalid, "%s of %s: want PodIdentityAssociation of %s",
					one.Kind, one.APIVersion, group)
			}
		}
		return list.Items, nil
	}
	return nil, fault.New(fault.Invalid, "kind %q of %q: want PodIdentityAssociation of %s",
		kind.Kind, kind.APIVersion, group)
}

// isNothing is a document of white space and comments.
func isNothing(document []byte) bool {
	var content any
	return yaml.Unmarshal(document, &content) == nil && content == nil
}

func readInput(sys cli.System, file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(sys.Stdin)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fault.New(fault.Usage, "read the objects: %w", err)
	}
	return text, nil
}
