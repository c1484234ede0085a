package ssm

import (
	"time"

	"github.com/rolecall/rolecall/internal/localaws/account"
)

// parameterTable holds parameters by region and name.
var parameterTable = account.Table{Name: "parameter"}

// Parameter is a parameter of SSM with its history.
type Parameter struct {
	Name string
	// Versions are what is kept, oldest first; the last one counts.
	Versions []ParameterVersion
	Tags     []account.Tag `json:",omitempty"`
}

// ParameterVersion is one version of a parameter.
type ParameterVersion struct {
	Version                               int
	Type, Value, Description              string
	KeyID, AllowedPattern, Tier, DataType string
	Modified                              time.Time
	ModifiedBy                            string   // ARN
	Labels                                []string `json:",omitempty"`
	Policies                              string   `json:",omitempty"`
}

// Last returns the newest version.
func (p *Parameter) Last() *ParameterVersion { return &p.Versions[len(p.Versions)-1] }

func parameterKey(region, name string) string { return region + ":" + name }

func parameterRecords(s account.State) account.Records[Parameter] {
	return account.In[Parameter](s, parameterTable)
}

// lookUp returns a parameter of a region, or account.ErrNotFound.
func lookUp(s account.State, region, name string) (*Parameter, error) {
	return parameterRecords(s).Get(parameterKey(region, name))
}

// eachBelow calls f for the parameters of a region whose names begin with
// prefix, by name, until it has enough.
func eachBelow(s account.State, region, prefix string, f func(*Parameter) (more bool)) error {
	return parameterRecords(s).Walk(parameterKey(region, prefix), "", f)
}

// keep creates or replaces a parameter.
func keep(s account.State, region string, p *Parameter) error {
	return parameterRecords(s).Put(parameterKey(region, p.Name), p)
}

// drop removes a parameter.
func drop(s account.State, region, name string) error {
	return parameterRecords(s).Delete(parameterKey(region, name))
}
