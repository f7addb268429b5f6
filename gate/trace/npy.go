package trace

const npyMagic = "\x93NUMPY"

func (b *builder) readNPY(in *input, name string) error { return nil }
func (b *builder) readNPZ(in *input) error              { return nil }
func (b *builder) placeNPY() error                      { return nil }
