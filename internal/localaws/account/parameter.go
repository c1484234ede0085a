package account

import "time"

// Parameter is a parameter of SSM with its history.
type Parameter struct {
	Name string
	// Versions are what is kept, oldest first; the last one counts.
	Versions []ParameterVersion
	Tags     []Tag `json:",omitempty"`
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

// Parameter returns a parameter of a region, or ErrNotFound.
func (s State) Parameter(region, name string) (*Parameter, error) {
	return get[Parameter](s, s.kind(kindParameter), region+":"+name)
}

// Parameters calls f for the parameters of a region whose names begin with
// prefix, by name, until it returns false.
func (s State) Parameters(region, prefix string, f func(*Parameter) bool) error {
	return walk(s, s.kind(kindParameter), region+":"+prefix, "", f)
}

// PutParameter creates or replaces a parameter.
func (s State) PutParameter(region string, p *Parameter) error {
	return put(s, s.kind(kindParameter), region+":"+p.Name, p)
}

// DeleteParameter removes a parameter.
func (s State) DeleteParameter(region, name string) error {
	return s.writer.Delete(s.kind(kindParameter), region+":"+name)
}
