package trust

import (
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/fault"
)

// PartitionOf returns the partition of a role that tokens of the issuers assume
// and that is related to the ARNs: the one on which they agree. Issuers on hosts
// that are not AWS's say nothing, nor do texts that are not ARNs; the result is
// empty if none says anything. Two that differ are an error of kind Usage.
func PartitionOf(issuers, arns []string) (string, error) {
	partition, said := "", ""
	for _, one := range append(append([]string(nil), arns...), issuers...) {
		found := ""
		if parsed, err := arn.Parse(one); err == nil {
			found = parsed.Partition
		} else {
			host, _, _ := strings.Cut(arn.IssuerID(one), "/")
			found = arn.PartitionOfHost(host)
		}
		switch {
		case found == "" || found == partition:
		case partition == "":
			partition, said = found, one
		default:
			return "", fault.New(fault.Usage, "%s is in partition %s, %s in %s: which one is the role in?", said, partition, one, found).
				Hint("say it with --partition %s or --partition %s", partition, found)
		}
	}
	return partition, nil
}
