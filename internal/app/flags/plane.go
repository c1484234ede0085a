package flags

import (
	"cmp"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/planefile"
)

// Plane is the file that says what the plane is, and which flags of a command say parts of
// it too. A flag that is given overrides the file.
type Plane struct {
	file  string
	binds []bind
	said  *planefile.Plane // by the file; nil without one
}

// bind ties a flag to a fact.
type bind struct {
	flag  string
	field planefile.Field
	// value is what the flag becomes; by default the fact.
	value func(*planefile.Plane) string
}

// Add adds --plane.
func (p *Plane) Add(cmd *cobra.Command) {
	cli.Group(cmd, PlaneHeading, func(f *pflag.FlagSet) {
		f.StringVar(&p.file, "plane", "", "file that says what the plane is, for all roles alike; flags override it")
	})
	_ = cmd.MarkFlagFilename("plane", "yaml", "yml")
}

// PlaneHeading is the heading of flags that say what the plane is.
const PlaneHeading = "The plane"

// Bind ties a flag of the command to a fact of the file.
func (p *Plane) Bind(flag string, field planefile.Field) {
	p.binds = append(p.binds, bind{flag: flag, field: field})
}

// BindValue ties a flag to a value that is made from the file.
func (p *Plane) BindValue(flag string, field planefile.Field, value func(*planefile.Plane) string) {
	p.binds = append(p.binds, bind{flag, field, value})
}

// Read reads the file, if one is named, and sets the flags that were not given. It comes
// before the command looks at its flags.
func (p *Plane) Read(cmd *cobra.Command) error {
	said, err := p.Load()
	if err != nil || p.file == "" {
		return err
	}
	for _, one := range p.binds {
		flag := cmd.Flags().Lookup(one.flag)
		if flag.Changed {
			continue
		}
		if err := one.set(flag, said); err != nil {
			return fault.New(fault.Invalid, "%s: %s: %w", p.file, one.field, err)
		}
	}
	return nil
}

// Load reads the file, if one is named; else nothing is said.
func (p *Plane) Load() (*planefile.Plane, error) {
	if p.file == "" || p.said != nil {
		return cmp.Or(p.said, &planefile.Plane{}), nil
	}
	text, err := os.ReadFile(p.file)
	if err != nil {
		return nil, fault.New(fault.Usage, "read what the plane is: %w", err).
			Hint("--plane takes a file as docs/reference/plane.md shows it")
	}
	p.said, err = planefile.Parse(p.file, text)
	return p.said, err
}

func (b *bind) set(flag *pflag.Flag, said *planefile.Plane) error {
	values := said.List(b.field)
	if b.value != nil {
		values = nil
		if text := b.value(said); text != "" {
			values = []string{text}
		}
	}
	if len(values) == 0 {
		return nil
	}
	if list, isList := flag.Value.(pflag.SliceValue); isList {
		return list.Replace(values)
	}
	return flag.Value.Set(strings.Join(values, ","))
}

// Given reports whether a file was named.
func (p *Plane) Given() bool { return p.file != "" }

// Effective is what the command goes by: what the file says, with the flags that were
// given over it. It comes after the flags were read and found right.
func (p *Plane) Effective(cmd *cobra.Command) *planefile.Plane {
	effective := &planefile.Plane{}
	if p.said != nil {
		for _, info := range planefile.Fields() {
			effective.Set(info.Field, p.said.List(info.Field)...)
		}
	}
	for _, one := range p.binds {
		flag := cmd.Flags().Lookup(one.flag)
		if one.value != nil && !flag.Changed {
			continue // what the file says is in it already
		}
		if list, isList := flag.Value.(pflag.SliceValue); isList {
			effective.Set(one.field, list.GetSlice()...)
			continue
		}
		text := flag.Value.String()
		if one.field == planefile.Mode {
			mode, _ := planefile.ParseMode(text)
			text = string(mode)
		}
		effective.Set(one.field, text)
	}
	if region := effective.Get(planefile.Region); region != "" {
		// As roles find it: the file's is of the file's region, which a flag may override.
		effective.Set(planefile.Partition, arn.PartitionOf(region))
	}
	return effective
}
